#!/usr/bin/env python3
"""Lists kernels against their tests on the SIMT layer and against the rules for kernel authors.

    scripts/check_kernels.py [ROOT]       exit 1 and a line per gap; first a self-test that it can fail

Every kernels/cuda/X*.cu must have a tests/simt/test_X.cpp, which makes its plain, sanitized and race tests; in every
file of that folder that synchronises, dropping that must be tried by a saslm_simt_mutations(); and each must keep the
rules of kernels/simt/README.md that a text search can see. In every kernels/X.h and kernels/cuda/X.* the labels of the
contract (Shapes, Types, Writes, Grid ...) must begin their lines, where clang-format leaves them only if no line is too
long; a header that declares a check() has at least Shapes, Writes and Errors, a .cu of attention or SAS with a kernel on
shared memory at least Grid, Block, Shared and Writes.
"""
import pathlib
import re
import sys

import mutate_kernels

MUTANTS = re.compile(r"saslm_simt_mutations\(\s*(\w+)\s+([^)]*)\)")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
RULES = [
    (re.compile(r"\basm\b"), "inline assembly belongs in kernels/simt/gpu_*.h"),
    (re.compile(r"\bextern\s+__shared__|(?<!_)\b__shared__\b"), "shared memory through SIMT_SHARED or dyn_smem"),
    (re.compile(r"<<<"), "launch through simt::launch"),
    (re.compile(r"\b__(?:syncthreads\w*|syncwarp|shfl\w*|ballot_sync|any_sync|all_sync)\b"), "use the layer's primitives"),
    (re.compile(r"#\s*include\s*[<\"]cuda"), "include kernels/simt/simt.h, not CUDA's headers"),
    (re.compile(r"#\s*define\s+__noinline__"), "never define __noinline__"),
    (re.compile(r"\btemplate\s*<[^>]*>\s*using\s+\w+\s*=[^;]*\]\s*;"),
     "no alias template for arrays: nvcc 12.0 ends in an internal error"),
]
OPERATION = ("Shapes", "Types", "Writes", "Repeats", "Memory", "Errors", "Cost")
LABELS = OPERATION + ("Grid", "Block", "Load", "Compute", "Store", "Shared", "Lines", "Rows", "Weights")
WANTED = ("Shapes", "Writes", "Errors")  # of every operation
WANTED_OF_KERNELS = ("Grid", "Block", "Shared", "Writes")
BIG_KERNELS = re.compile(r"(?:attention|sas)_\w+\.cu")
LABEL_LINE = re.compile(rf"// (?=(?:{'|'.join(OPERATION)}) |\w+  )({'|'.join(LABELS)})( +)\S")  # others may begin a sentence
LABEL_WITHIN = re.compile(rf"// .*(?:[.;:]\s+({'|'.join(OPERATION)})\s|\s({'|'.join(LABELS)})\s\s)")
LABEL_WIDTH = 9  # the text of all of them begins in one column


def tests_of(kernel, tests):
    return [t for t in tests if kernel.startswith(t)]


def mutations_of(cmake_texts, name):
    """The tests named by the saslm_simt_mutations() calls that name this file."""
    calls = [call for text in cmake_texts for call in MUTANTS.findall(re.sub(r"#[^\n]*", "", text))]
    return [test for test, rest in calls if re.search(rf"/{re.escape(name)}(?![\w.])", rest)]


def broken_rules(name, text):
    code = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    for rule, why in RULES:
        for m in rule.finditer(code):
            yield f"{name}:{code.count(chr(10), 0, m.start()) + 1}: {m.group().strip()}: {why}"


def broken_contract(name, text):
    """What clang-format, or an author, has done to the block of labels at the head of a header."""
    head = re.match(r"(?://[^\n]*\n|\s)*", text)[0].splitlines()
    found = set()
    for number, line in enumerate(head, 1):
        label = LABEL_LINE.match(line)
        if label:
            found.add(label[1])
            if len(label[1] + label[2]) != LABEL_WIDTH:
                yield f"{name}:{number}: the text of {label[1]} begins in another column than that of the other labels"
        within = LABEL_WITHIN.match(line)
        if within:
            yield f"{name}:{number}: {within[1] or within[2]} does not begin its line: shorten the line before it"
    wanted = WANTED if "void check() const" in text else ()
    if BIG_KERNELS.fullmatch(pathlib.PurePath(name).name):
        wanted = WANTED_OF_KERNELS
    for label in wanted:
        if label not in found:
            yield f"{name}: its contract has no line that begins with {label}"


def self_test():
    assert tests_of("a_fwd.cu", ["a", "b"]) == ["a"] and not tests_of("c.cu", ["a"])
    cmake = ["saslm_simt_mutations(simt_a ${dir}/a.cu FILTER *.B)  # ${dir}/b.cu"]
    assert mutations_of(cmake, "a.cu") == ["simt_a"] and not mutations_of(cmake, "b.cu")
    assert len(list(broken_rules("x.cu", "// asm\nk<<<1, 2>>>(); asm(\"x\"); __syncthreads();"))) == 3
    assert len(list(broken_rules("x.cu", "template <int M, int N>\nusing Sums = float[M][N][4];"))) == 1
    assert not list(broken_rules("x.cu", "SIMT_SHARED(float, s); simt::block_sync();"))
    sound = ["// y = x", "//", "// Shapes   y, x (size). Rows of x.", "// Writes   y is set (=).", "// Errors   ShapeError."]
    operation = "\n#pragma once\nvoid check() const;\n"
    contract = lambda lines: list(broken_contract("x.h", "\n".join(lines) + operation))
    assert not contract(sound)
    assert len(contract(sound[:2] + [" ".join([sound[2]] + [line[3:] for line in sound[3:]])])) == 3  # joined: 2 are missing
    assert len(contract(sound[:4] + ["// y. Errors ShapeError."])) == 2  # within its line, so not found
    assert len(contract(sound[:4] + ["// Errors  ShapeError."])) == 1  # another column
    assert len(contract(sound[:4])) == 1  # missing
    kernel = "// y = x\n//\n// Grid     One.\n// Block    One.\n// Shared   None.\n"
    assert not list(broken_contract("cuda/sas_fwd.cu", kernel + "// Writes   y.\n#include <x>\n"))
    assert len(list(broken_contract("cuda/sas_fwd.cu", kernel + "#include <x>\n// Writes   y.\n"))) == 1


def main():
    self_test()
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    folder = root / "kernels" / "cuda"
    files = sorted(p for p in folder.glob("*") if p.suffix in {".cu", ".h", ".cuh"}) if folder.is_dir() else []
    names = [p.stem.removeprefix("test_") for p in sorted((root / "tests" / "simt").glob("test_*.cpp"))]
    cmake = [p.read_text() for p in sorted((root / "tests").rglob("CMakeLists.txt"))]
    gaps = [line for p in files for line in broken_rules(f"kernels/cuda/{p.name}", p.read_text())]
    for p in sorted((root / "kernels").glob("*.h")):
        gaps += broken_contract(f"kernels/{p.name}", p.read_text())
    for p in files:
        gaps += broken_contract(f"kernels/cuda/{p.name}", p.read_text())
    for p in files:
        tests, mutations = tests_of(p.stem, names), mutations_of(cmake, p.name)
        synchronises = bool(mutate_kernels.switched(p.read_text())[1])
        print(f"{p.name:28} tests: {' '.join(tests) if p.suffix == '.cu' else 'with its users':32} "
              f"synchronisations dropped in: {' '.join(mutations) or ('NONE' if synchronises else 'none to drop')}")
        if p.suffix == ".cu" and not tests:
            gaps.append(f"kernels/cuda/{p.name}: no tests/simt/test_X.cpp whose X begins its name")
        if synchronises and not mutations:
            gaps.append(f"kernels/cuda/{p.name}: no saslm_simt_mutations() drops its synchronisations")
    for gap in gaps:
        print(gap)
    print(f"{len(files)} files, {len(gaps)} gaps")
    return 1 if gaps else 0


if __name__ == "__main__":
    sys.exit(main())
