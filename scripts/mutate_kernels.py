#!/usr/bin/env python3
"""Removes each synchronisation of a kernel, one at a time, and checks that the race build of a test fails.

    scripts/mutate_kernels.py KERNEL TEST... [--build-dir build] [--filter GTEST_FILTER] [--list]

KERNEL is a .cu file among the sources of the saslm_simt_test() TEST, or a header that they include by its path from
the root. Works on a copy that holds all mutants and a variable which chooses one, compiled with the commands that
Ninja has and linked in place of the original: a mutant costs a run, not a build. One that stays green means that the
synchronisation is not needed, or that the test does not need it: shapes too small for a second pass, one block, one
warp.
Exit 1 when a mutant stays green. mbar_fence_init is not tried: only a GPU can miss it.
"""
import argparse
import concurrent.futures
import fcntl
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
STATEMENT = re.compile(
    r"(?<![\w:])(?:saslm::)?(?:simt::)?"
    r"(block_sync|warp_sync|bar_sync|bar_arrive|cp_async_commit|cp_async_wait\s*<[^;()]*>|mbar_wait|mbar_arrive|"
    r"fence_async|wgmma_fence|wgmma_commit|wgmma_wait\s*<[^;()]*>)\s*\([^;]*\)\s*;")
REDUCTION = re.compile(r"(?<![\w:])(?:saslm::)?(?:simt::)?(block_sync_(?:or|and|count))\s*\(")
WAIT = re.compile(r"((?:cp_async|wgmma)_wait\s*<)([^;()]*)(>)")
SWITCH = """#include <cstdlib>
static const int simt_mutant = std::getenv("SIMT_MUTANT") ? std::atoi(std::getenv("SIMT_MUTANT")) : -1;
#line 1
"""
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)


def switched(text):
    """The text in which the variable simt_mutant chooses one of the mutants, and [(line, what)] of them."""
    code = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)  # same offsets, no comments
    found, changes = [], []

    def mutant(match, what):
        found.append((code.count("\n", 0, match.start()) + 1, what))
        return f"simt_mutant == {len(found) - 1}"

    for m in STATEMENT.finditer(code):
        chosen = f"if ({mutant(m, f'without {m.group().rstrip(chr(59))}')}) ; else {m.group()}"
        wait = WAIT.search(m.group())
        if wait:
            longer = WAIT.sub(r"\1(\2) + 1\3", m.group())
            chosen = f"if ({mutant(m, f'{wait.group()} waits for one group less')}) {longer} else {chosen}"
        changes.append((m.start(), m.end(), f"{{ {chosen} }}"))
    for m in REDUCTION.finditer(code):
        alone = mutant(m, f"{m.group(1)} without its barrier")
        changes.append((m.start(), m.end(), f"({alone} ? [](bool p) {{ return int(p); }} : [](bool p) {{ "
                                            f"return int(saslm::simt::{m.group(1)}(p)); }})("))
    for start, end, by in sorted(changes, reverse=True):
        text = text[:start] + by + text[end:]
    return SWITCH + text, found


def commands(build_dir, target, source):
    """The commands that compile what the source changes in the race build, and the one that links the test."""
    with open(build_dir / ".mutants.lock", "w") as lock:  # Ninja is not made to run twice in one folder
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["ninja", "-C", build_dir, target], check=True, stdout=subprocess.DEVNULL)
        lines = subprocess.run(["ninja", "-C", build_dir, "-t", "commands", target], check=True, capture_output=True,
                               text=True).stdout.splitlines()
    words = [shlex.split(step) for line in lines for step in line.split(" && ")]
    compiles = [w for w in words if "-c" in w and "-fsanitize=thread" in w]
    if source.suffix == ".cu":
        compiles = [w for w in compiles if str(source) in w]
    links = [w for w in words if "-o" in w and pathlib.PurePath(w[w.index("-o") + 1]).name == target]
    if not compiles or len(links) != 1:
        sys.exit(f"{target}: found {len(compiles)} commands that compile {source} and {len(links)} that link it; "
                 "is the kernel among the SOURCES of that saslm_simt_test, and the generator Ninja?")
    return compiles, links[0]


def build(text, source, build_dir, target, folder):
    """The path of the test with all mutants in it."""
    compiles, link = commands(build_dir, target, source)
    copy = folder / "include" / source.relative_to(ROOT)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text)
    program = folder / target
    changes = {link[link.index("-o") + 1]: str(program)}
    steps = []
    for number, command in enumerate(compiles):
        at = command.index("-o") + 1
        made = folder / f"{target}{number}.o"
        replaced = {str(source): str(copy), command[at]: str(made), command[at] + ".d": f"{made}.d"}
        first = next(i for i, word in enumerate(command) if word.startswith("-"))  # before all other options
        overlays = [f"-I{folder / 'include' / part}" for part in ("", "src", "tests")]
        step = command[:first] + overlays + ["-w"] + command[first:]
        steps.append([replaced.get(word, word) for word in step])
        for word in link:
            if (build_dir / word).resolve() == (build_dir / command[at]).resolve():
                changes[word] = str(made)
    steps.append([changes.get(word, word) for word in link])
    for step in steps:
        done = subprocess.run(step, cwd=build_dir, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{source.name} with its mutants does not build: {(done.stdout + done.stderr).strip()}")
    return program


def verdict(programs, mutant, args):
    """The verdict of the first program that fails with the mutant."""
    for program in programs:
        run = [str(program), "--gtest_brief=1", "--gtest_fail_fast=1"]
        run += [f"--gtest_filter={args.filter}"] if args.filter else []
        try:
            done = subprocess.run(run, capture_output=True, text=True, errors="replace", timeout=args.timeout,
                                  env=os.environ | {"SIMT_MUTANT": str(mutant)})
        except subprocess.TimeoutExpired:
            return "red", "still running after the time limit"
        if done.returncode:
            says = [line for line in done.stdout.splitlines() if "SIMT layer:" in line or "Failure" in line]
            return "red", next((line for line in says if "SIMT layer:" in line), says[0] if says else "crashed").strip()
    return "GREEN", ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernel", type=pathlib.Path)
    parser.add_argument("tests", nargs="+", metavar="TEST")
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--filter", default="")
    parser.add_argument("--timeout", type=float, default=120, help="seconds per mutant")
    parser.add_argument("--list", action="store_true", help="print the mutants and stop")
    args = parser.parse_args()
    source = args.kernel.resolve()
    text, every = switched(source.read_text())
    if args.list:
        for line, what in every:
            print(f"{source.name}:{line}: {what}")
        return 0
    if not every:
        print(f"{source.name}: nothing synchronises; nothing to drop")
        return 0

    args.build_dir = args.build_dir.resolve()
    bad = 0
    at_once = max(1, os.cpu_count() // 2)  # other kernels' mutants are tried beside these
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        programs = [build(text, source, args.build_dir, test + "_race", pathlib.Path(folder)) for test in args.tests]
        state, why = verdict(programs, -1, args)
        if state != "GREEN":
            sys.exit(f"{source.name}: the kernel itself is not green ({state}): {why}")
        verdicts = pool.map(lambda mutant: verdict(programs, mutant, args), range(len(every)))
        for (line, what), (state, why) in zip(every, verdicts):
            bad += state != "red"
            print(f"{source.name}:{line}: {what}: {state}{': ' + why if why else ''}", flush=True)
    print(f"{source.name}: {len(every)} mutants, {bad} not caught")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
