#!/usr/bin/env python3
"""Lists kernels against their tests on the SIMT layer and against the rules for kernel authors.

    scripts/check_kernels.py [ROOT]       exit 1 and a line per gap; it first shows to itself that it can fail

Every kernels/cuda/*.cu must be among the sources of a saslm_simt_test(), which makes its plain, sanitized and race
tests, and every other file of that folder must keep the rules of kernels/simt/README.md that a text search can see.
"""
import pathlib
import re
import sys

import mutate_kernels

MUTANTS = re.compile(r"saslm_simt_mutations\(\s*(\w+)\s+([^)]*)\)")
TEST = re.compile(r"saslm_simt_test\(\s*(\w+)\s+([^)]*)\)")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
RULES = [
    (re.compile(r"\basm\b"), "inline assembly belongs in kernels/simt/gpu_*.h"),
    (re.compile(r"\bextern\s+__shared__|(?<!_)\b__shared__\b"), "shared memory through SIMT_SHARED or dyn_smem"),
    (re.compile(r"<<<"), "launch through simt::launch"),
    (re.compile(r"\b__(?:syncthreads\w*|syncwarp|shfl\w*|ballot_sync|any_sync|all_sync)\b"), "use the layer's primitives"),
    (re.compile(r"#\s*include\s*[<\"]cuda"), "include kernels/simt/simt.h, not CUDA's headers"),
    (re.compile(r"#\s*define\s+__noinline__"), "never define __noinline__"),
]


def tests_of(cmake_texts, kernels, call=TEST):
    """{kernel: [tests]} from the saslm_simt_test() calls, or from saslm_simt_mutations()."""
    found = {k: [] for k in kernels}
    for text in cmake_texts:
        for name, rest in call.findall(re.sub(r"#[^\n]*", "", text)):
            for kernel in kernels:
                if re.search(rf"kernels/cuda/{re.escape(kernel)}(?![\w.])", rest):
                    found[kernel].append(name)
    return found


def broken_rules(name, text):
    code = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    for rule, why in RULES:
        for m in rule.finditer(code):
            yield f"{name}:{code.count(chr(10), 0, m.start()) + 1}: {m.group().strip()}: {why}"


def self_test():
    cmake = ["saslm_simt_test(simt_a SOURCES ${PROJECT_SOURCE_DIR}/kernels/cuda/a.cu test_a.cpp)  # kernels/cuda/b.cu"]
    assert tests_of(cmake, ["a.cu", "b.cu"]) == {"a.cu": ["simt_a"], "b.cu": []}
    assert len(list(broken_rules("x.cu", "// asm\nk<<<1, 2>>>(); asm(\"x\"); __syncthreads();"))) == 3
    assert not list(broken_rules("x.cu", "SIMT_SHARED(float, s); simt::block_sync();"))


def main():
    self_test()
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    folder = root / "kernels" / "cuda"
    files = sorted(p for p in folder.glob("*") if p.suffix in {".cu", ".h", ".cuh"}) if folder.is_dir() else []
    kernels = [p.name for p in files if p.suffix == ".cu"]
    cmake = [p.read_text() for p in sorted((root / "tests").rglob("CMakeLists.txt"))]
    names = [p.name for p in files]
    tests, mutants = tests_of(cmake, kernels), tests_of(cmake, names, MUTANTS)
    gaps = [line for p in files for line in broken_rules(f"kernels/cuda/{p.name}", p.read_text())]
    for p in files:
        synchronises = bool(mutate_kernels.switched(p.read_text())[1])
        tried = " ".join(mutants[p.name]) or "NOT TRIED" if synchronises else "none to drop"
        print(f"{p.name:28} tests: {' '.join(tests[p.name]) or 'NONE' if p.name in tests else 'with its users':32} "
              f"synchronisations dropped in: {tried}")
        if p.name in tests and not tests[p.name]:
            gaps.append(f"kernels/cuda/{p.name}: no saslm_simt_test() has it among its SOURCES")
    for gap in gaps:
        print(gap)
    print(f"{len(kernels)} kernels, {len(gaps)} gaps")
    return 1 if gaps else 0


if __name__ == "__main__":
    sys.exit(main())
