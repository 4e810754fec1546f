#!/usr/bin/env python3
"""Registers, shared memory and spills of every GPU kernel, as ptxas reported them when the build folder was made.

  scripts/kernel_resources.py BUILD [--all]

One line a kernel and architecture: of the attention and SAS kernels at the shipped shapes, or of all. Exit 1 if one of
the former spills more than its architecture's budget: a training step spends its time there. The budget is nothing
where they were tuned (8.x, 9.0); on Blackwell (10.x, 12.x) ptxas spills up to 12 bytes in two of them, which cost a few
of some thousand instructions.
"""
import collections
import pathlib
import re
import subprocess
import sys

Kernel = collections.namedtuple("Kernel", "file name architecture registers stack stores loads shared")

ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '(?P<architecture>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)", re.DOTALL)
BUDGETS = {10: 16, 12: 16}  # bytes stored, and bytes loaded, by major version; elsewhere none
# Compiled, since all machine code is made of one PTX, and never launched there: it takes 131,808 bytes of shared memory a
# block, and cards of that major version have 101,376.
NEVER_LAUNCHED = {("attention_bwd_kernel<BwdTile<192, 128, 128> >", "sm_120")}
MUST_NOT_SPILL = ("attention", "attention_fwd", "attention_bwd", "sas_fwd", "sas_bwd",
                  "sas_wide_fwd", "sas_wide_bwd")


def kernels_of(build):
    for log in sorted(pathlib.Path(build).rglob("*.cu.o.log")):
        for found in ENTRY.finditer(log.read_text()):
            shared = re.search(r"(\d+) bytes smem", found["rest"])
            yield Kernel(log.name.removesuffix(".cu.o.log"), found["name"], found["architecture"], int(found["registers"]),
                         int(found["stack"]), int(found["stores"]), int(found["loads"]), int(shared[1]) if shared else 0)


def budget_for(architecture):
    number = re.search(r"\d+", architecture)
    return BUDGETS.get(int(number[0]) // 10, 0) if number else 0


def plain(names):
    """Demangled, without return type, namespaces and arguments: norm_fwd_kernel<bf16, 8>."""
    text = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    result = []
    for name in text.splitlines():
        name = re.sub(r"\((?:int|bool|unsigned int|long)\)", "", name.removeprefix("void "))
        name = re.sub(r"\b(?:saslm|cuda|simt)::|\(anonymous namespace\)::", "", name)
        depth, end = 0, len(name)
        for i, c in enumerate(name):
            depth += (c == "<") - (c == ">")
            if c == "(" and depth == 0:
                end = i
                break
        result.append(name[:end])
    return result


def main():
    arguments = sys.argv[1:]
    every = "--all" in arguments
    folders = [word for word in arguments if word != "--all"]
    if len(folders) != 1:
        sys.exit(__doc__)
    kernels = list(kernels_of(folders[0]))
    if not kernels:
        sys.exit(f"{folders[0]} contains no report of ptxas; was it built with nvcc?")
    shown = [kernel for kernel in kernels if every or kernel.file in MUST_NOT_SPILL]
    names = plain([kernel.name for kernel in shown])
    width = max(map(len, names))
    print(f"{'file':<14} {'kernel':<{width}} {'for':<7} {'regs':>4} {'stack':>6} {'spill':>11} {'smem':>6}")
    spilling = []
    for kernel, name in zip(shown, names):
        spills = (max(kernel.stores, kernel.loads) > budget_for(kernel.architecture)
                  and (name, kernel.architecture) not in NEVER_LAUNCHED)
        print(f"{kernel.file:<14} {name:<{width}} {kernel.architecture:<7} {kernel.registers:>4} {kernel.stack:>6} "
              f"{kernel.stores:>5}/{kernel.loads:<5} {kernel.shared:>6}")
        if spills and kernel.file in MUST_NOT_SPILL:
            spilling.append(f"{kernel.file}: {name} for {kernel.architecture}")
    others = sum(k.stores + k.loads > 0 for k in kernels) - len(spilling)
    print(f"{len(kernels)} kernels; spills above the budget in {len(spilling)}, allowed ones in {others}")
    if spilling:
        sys.exit("These spill more than they may:\n  " + "\n  ".join(spilling))


if __name__ == "__main__":
    main()
