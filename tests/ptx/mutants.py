#!/usr/bin/env python3
"""Negative controls: `mutants.py PTX_KERNELS [--all] [--only WORD]` changes the kernels' PTX in one way at a time, and
the tests must then fail or the machine find something; a change that is not seen, or that changes nothing, fails.

Without --all: the quick ones, of each kind one.
"""
import argparse
import os
import re
import subprocess
import sys
import time
from typing import NamedTuple

ATTENTION = "SimtAttentionTiles.IsItsTwinOverManyTiles"
SAS = "SimtSas.Forward:SimtSas.Backward"
CAPPED = "SimtCrossEntropy.*WithSoftCapAndZLossEqualsTwin"


class Mutant(NamedTuple):
    name: str
    tests: str
    edit: str        # FROM=>TO in the text of the PTX
    nth: int = None  # that place of each module alone; else every place
    quick: bool = False


def dropped(barrier, kernels, tests, numbers, quick=()):
    return [Mutant(f"{kernels}: {barrier} number {n} left out", tests, f"{barrier}=>//", n, n in quick) for n in numbers]


MUTANTS = [
    Mutant("norm: bf16 pairs become f16 pairs", "SimtNorm*", "cvt.rn.bf16x2.f32=>cvt.rn.f16x2.f32", quick=True),
    Mutant("norm: butterfly shuffles go up", "SimtNorm*", "shfl.sync.bfly=>shfl.sync.up", quick=True),
    Mutant("norm: all blocks do the same rows", "SimtNorm*", "%ctaid.x=>%ctaid.z"),
    Mutant("cross_entropy: tanh without its cubic term", CAPPED, "0fBEAAA9ED=>0f00000000", quick=True),
    Mutant("cross_entropy: tanh above 0.6 loses its sign", CAPPED, "copysign.f32=>max.f32"),
    Mutant("cross_entropy: half the gradient of the z-loss", CAPPED, "0f40000000=>0f3F800000"),
    Mutant("bounds of 64 bits off by one", "SimtActivation*:SimtNorm*:SimtAdamW*", "setp.ge.s64=>setp.gt.s64"),
    Mutant("attention: ldmatrix.x4.trans without trans", ATTENTION, "m8n8.x4.trans=>m8n8.x4", quick=True),
    Mutant("attention: ldmatrix.x4 with trans", ATTENTION, "m8n8.x4.shared=>m8n8.x4.trans.shared"),
    Mutant("attention: mma of f16", ATTENTION, "f32.bf16.bf16.f32=>f32.f16.f16.f32", quick=True),
    Mutant("attention: wait_group 0 becomes 1", ATTENTION, "cp.async.wait_group 0=>cp.async.wait_group 1", quick=True),
    Mutant("attention: wait_group 1 becomes 2", ATTENTION, "cp.async.wait_group 1=>cp.async.wait_group 2"),
    Mutant("attention: cp.async copies 16 bytes always", ATTENTION, "], 16, %r=>], 16, 16; // %r", quick=True),
    Mutant("attention: ex2 becomes lg2", ATTENTION, "ex2.approx.ftz=>lg2.approx.ftz"),
    Mutant("attention: max becomes min", ATTENTION, "max.f32=>min.f32"),
    Mutant("attention: comparisons of 32 bits off by one", ATTENTION, "setp.ge.s32=>setp.gt.s32"),
    Mutant("attention: threads take one row", ATTENTION, "%tid.x=>%tid.y"),
    *dropped("bar.sync", "attention", ATTENTION, range(8), quick=(0, 3)),
    Mutant("sas: ldmatrix.x2.trans without trans", SAS, "m8n8.x2.trans=>m8n8.x2"),
    Mutant("sas: ldmatrix.x2 with trans", SAS, "m8n8.x2.shared=>m8n8.x2.trans.shared"),
    Mutant("sas: copies are not waited for", SAS, "cp.async.wait_group 0;=>cp.async.wait_group 7;"),
    Mutant("sas: a named barrier is passed by", SAS, "barrier.cta.sync.aligned=>bar.arrive"),
    *dropped("bar.warp.sync", "sas", SAS, range(6), quick=(2,)),
    *dropped("bar.sync", "sas", SAS, (0, 2, 4, 6), quick=(2,)),
]


def run(program, mutant):
    """(places changed, tests that failed, what the machine found)"""
    settings = {"PTX_EDIT": mutant.edit, "SASLM_GPU_REPEATS": "1", "SASLM_GPU_GUARDS": "0", "OMP_NUM_THREADS": "1"}
    if mutant.nth is not None:
        settings["PTX_EDIT_NTH"] = str(mutant.nth)
    done = subprocess.run([program, f"--gtest_filter={mutant.tests}-*DISABLED_*"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace", env={**os.environ, **settings}, timeout=300)
    said = done.stdout + done.stderr
    places = sum(map(int, re.findall(r"PTX_EDIT: (\d+)", said)))
    failed = set(re.findall(r"^\[  FAILED  \] ([\w/]+\.\w+)", said, re.M))
    found = set(re.findall(r"^PTX ([A-Z]{2,}[A-Z .]*)", said, re.M))
    return places, len(failed), sorted(kind.strip() for kind in found)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("program")
    options.add_argument("--all", action="store_true")
    options.add_argument("--only", default="", help="those whose name has this")
    o = options.parse_args()
    chosen = [m for m in MUTANTS if (o.all or m.quick) and o.only in m.name]
    unseen = 0 if chosen else 1
    for name, tests in {m.tests: m.tests for m in chosen}.items():  # unchanged, all is well
        places, failed, found = run(o.program, Mutant("", tests, "no such text=>"))
        if places or failed or found:
            sys.exit(f"{tests}, unchanged: {failed} tests failed, found: {', '.join(found)}")
    for mutant in chosen:
        begin = time.monotonic()
        places, failed, found = run(o.program, mutant)
        seen = places > 0 and (failed > 0 or found)
        unseen += not seen
        verdict = "seen" if seen else "NOT SEEN" if places else "NOTHING WAS CHANGED"
        print(f"{mutant.name:52} {verdict:9} places {places:3}  failed tests {failed}  {', '.join(found)}"
              f"  {time.monotonic() - begin:.1f} s", flush=True)
    print(f"{len(chosen)} mutants, {unseen} not seen" if chosen else "no mutant is chosen")
    sys.exit(1 if unseen else 0)


if __name__ == "__main__":
    main()
