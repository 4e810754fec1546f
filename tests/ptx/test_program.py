#!/usr/bin/env python3
"""The whole program over the PTX machine: `test_program.py SASLM_PTX KIND...` trains each kind's debug config with
--device cpu, and with --device cuda in fp32 and bf16, and compares losses and gradient norms step by step.
`resume` in place of a kind: a resumed run ends with the bits of one that went through. `counts`: bench kernels.
`ranges`: what a profiler is told (tests/ops/cuda/nvtx_listener.cpp, which NVTX_LISTENER names).

A line for each run is printed, and appended to the file that PTX_LOSSES names (scripts/ptx_tables.py).
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent.parent
STEPS = 4

# What may differ, relative. In fp32 both sides do the same sums in other orders: a few units of 2^-24 (seen: 2e-8, 7e-7, by what the text is).
FP32 = {"loss": 5e-7, "grad_norm": 5e-6}
# In bf16 every weight and activation carries 2^-9; a loss is a mean over 128 tokens (seen: 2e-4, 6e-3).
BF16 = {"loss": 1e-3, "grad_norm": 1e-2}


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="saslm_ptx_")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.work = Path(cls.folder.name)
        pages = sorted((HOUSE / "docs").glob("*.md"))
        for part, text in (("train", pages[1:]), ("val", pages[:1])):
            (cls.work / f"{part}.txt").write_bytes(b"".join(page.read_bytes() for page in text))
            cls.call(cls, SASLM_PTX, "tokenize", "--input", cls.work / f"{part}.txt", "--tokenizer", "bytes", "--out",
                     cls.work / "data", "--prefix", part)

    def call(self, *words):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={**os.environ, "OMP_NUM_THREADS": "1"})
        if done.returncode != 0 or re.search(r"^PTX [A-Z]+[ :]", done.stderr, re.M):  # a finding
            raise AssertionError(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def settings(self, device, precision, **more):
        data = {part: f"{self.work}/data/{part}_*.bin" for part in ("train", "val")}
        values = {"data.train": data["train"], "data.val": data["val"], "train.steps": STEPS, "train.micro_batch": 2,
                  "train.seq_len": 32,
                  "optim.schedule.warmup_steps": 2, "eval.every_steps": STEPS, "eval.max_sequences": 4,
                  "checkpoint.every_steps": 0, "runtime.device": device, "runtime.precision": precision,
                  "runtime.selfcheck": "false", **more}
        return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]

    def train(self, kind, device, precision, run=None, **more):
        """The events of a run, which is a new one unless `run` was begun."""
        folder = self.work / "runs" / (run or f"{kind}_{device}_{precision}")
        self.call(SASLM_PTX, "train", HOUSE / f"configs/debug_cpu_{kind}.json", "--run-dir", folder, *self.settings(device, precision, **more))
        events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        steps = [e for e in events if e["event"] == "step"]
        self.assertEqual([e["step"] for e in steps][-STEPS:], list(range(STEPS)))
        start = next(e for e in events if e["event"] == "start")
        self.assertEqual((start["device"], start["precision"]), (device, precision))
        return steps, [e for e in events if e["event"] == "eval"]

    def expect_near(self, what, cpu, ptx, bounds):
        """Relative differences, step by step; the largest of each number, by its name."""
        (cpu_steps, cpu_evals), (ptx_steps, ptx_evals) = cpu, ptx
        largest = {}
        for key, bound, a_events, b_events in (("loss", bounds["loss"], cpu_steps, ptx_steps),
                                               ("grad_norm", bounds["grad_norm"], cpu_steps, ptx_steps),
                                               ("val_loss", bounds["loss"], cpu_evals, ptx_evals)):
            pairs = [(a[key], b[key]) for a, b in zip(a_events, b_events, strict=True)]
            largest[key] = max(abs(a - b) / abs(a) for a, b in pairs)
            self.assertLessEqual(largest[key], bound, f"{what}, {key}, CPU and PTX: {pairs}")
        return largest

    def compare(self, kind):
        cpu = self.train(kind, "cpu", "fp32")
        losses = [e["loss"] for e in cpu[0]]
        self.assertLess(min(losses[1:]), losses[0], "nothing was learned")
        tell(kind=kind, device="cpu", precision="fp32", losses=losses, val_loss=cpu[1][-1]["val_loss"])
        for precision, bounds in (("fp32", FP32), ("bf16", BF16)):
            ptx = self.train(kind, "cuda", precision)
            far = self.expect_near(f"{kind} {precision}", cpu, ptx, bounds)
            tell(kind=kind, device="ptx", precision=precision, arch=os.environ.get("PTX_ARCH"), far=far,
                 losses=[e["loss"] for e in ptx[0]], val_loss=ptx[1][-1]["val_loss"])

    def resume(self):
        """Stopped after two steps and gone on with: the same files as without, byte for byte."""
        often = {"checkpoint.every_steps": 2, "checkpoint.keep_last": 9}
        self.train("sas", "cuda", "bf16", run="through", **often)
        runs = self.work / "runs"
        shutil.copytree(runs / "through", runs / "resumed")
        shutil.rmtree(runs / f"resumed/checkpoints/step_{STEPS:08}")
        self.train("sas", "cuda", "bf16", run="resumed", **often)
        log = (runs / "resumed/metrics.jsonl").read_text()
        self.assertIn('"resumed_from_step":2', log)
        for name in ("model.safetensors", "optimizer.safetensors"):
            through, resumed = (runs / run / f"checkpoints/step_{STEPS:08}" / name for run in ("through", "resumed"))
            self.assertNotEqual(through.stat().st_ino, resumed.stat().st_ino)
            self.assertEqual(through.read_bytes(), resumed.read_bytes(), name)

    def ranges(self):
        """A profiler hears of every part of a run, and of an end for every beginning."""
        told = self.work / "told.txt"
        os.environ.update(NVTX_INJECTION64_PATH=NVTX_LISTENER, SASLM_NVTX_FILE=str(told))
        try:
            self.train("sas", "cuda", "bf16", run="named")
        finally:
            del os.environ["NVTX_INJECTION64_PATH"], os.environ["SASLM_NVTX_FILE"]
        open_ranges, names = [], set()
        for line in told.read_text().splitlines():
            if line == "-":
                open_ranges.pop()
            else:
                open_ranges.append(line.removeprefix("+ "))
                names.add("/".join(open_ranges))
        self.assertEqual(open_ranges, [])
        self.assertLessEqual({"attention/sas", "attention backward/sas backward", "mlp", "mlp backward", "head", "optimizer",
                              "evaluation/head", "checkpoint"}, names)

    def counts(self):
        """Counts under a heading that says so, exact and of what a call is known to execute; no times."""
        command = [SASLM_PTX, "bench", "kernels", HOUSE / "configs/debug_cpu_sas.json", "--device", "cuda", "--precision",
                   "bf16"]
        only = ["--only", "sas_fwd,attention_fwd,norm_fwd,matmul_fwd"]
        report = json.loads(self.call(*command, *only, "--json"))
        self.assertIn("not times", report["what"])
        kernels = {}
        for line in report["kernels"]:
            kernels.setdefault(line["op"], line)
        self.assertEqual(set(kernels), {"sas_fwd", "attention_fwd", "norm_fwd", "matmul_fwd"})
        self.assertEqual(kernels["matmul_fwd"]["launches"], 0)
        for op in ("sas_fwd", "attention_fwd", "norm_fwd"):
            self.assertGreater(kernels[op]["instructions"], 0)
            self.assertGreater(kernels[op]["global_sectors"], 0)
            self.assertEqual(sum(kernels[op]["classes"].values()), kernels[op]["instructions"])
        self.assertGreater(kernels["attention_fwd"]["classes"]["mma"], 0)
        self.assertEqual(kernels["norm_fwd"]["classes"]["mma"], 0)
        again = json.loads(self.call(*command, "--only", "norm_fwd", "--json"))
        self.assertEqual(again["kernels"][0], kernels["norm_fwd"])
        print(self.call(*command, *only))


def tell(**line):
    print(json.dumps(line), flush=True)
    if path := os.environ.get("PTX_LOSSES"):
        with open(path, "a") as file:
            print(json.dumps(line), file=file)


def add_test(name):
    case = getattr(Program, name, None) if name in ("resume", "counts", "ranges") else lambda self: self.compare(name)
    setattr(Program, f"test_{name}", case)


if __name__ == "__main__":
    SASLM_PTX, *names = sys.argv[1:]
    NVTX_LISTENER = os.environ.get("NVTX_LISTENER", "")
    if not names:
        sys.exit(__doc__)
    for name in names:
        add_test(name)
    unittest.main(argv=sys.argv[:1], verbosity=2)
