#!/usr/bin/env python3
"""The self-check over kernels that are broken: `ptx_selfcheck.py SASLM_PTX`. Each change of the kernels' PTX must be
found and named; where another kernel is right, training goes on without the broken one, else it ends.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent.parent
FAST = r"(attention|sas)_[fb]wd\.(\w*tile\w*|wide)"
# What is changed, and the kernels that are then wrong and have another to take their place.
LEFT_OUT = {
    "mma takes its pairs as f16": ("f32.bf16.bf16.f32=>f32.f16.f16.f32",
                                   {"attention_fwd.tile", "attention_bwd.tile", "sas_fwd.tile"}),
    "matrices are loaded without .trans": ("m8n8.x4.trans=>m8n8.x4", {"attention_fwd.tile", "attention_bwd.tile"}),
}
# What is changed, and the operation that then has no right kernel, one of these.
ENDS = {
    "bf16 pairs become f16 pairs": ("cvt.rn.bf16x2.f32=>cvt.rn.f16x2.f32", r"\w+"),
    "shuffles go up": ("shfl.sync.bfly=>shfl.sync.up", r"\w+"),
    "all blocks do the same rows": ("%ctaid.x=>%ctaid.z", r"\w+"),
}
SMALL = {"model.n_layer": 1, "model.max_seq_len": 128, "train.micro_batch": 2, "train.grad_accum": 1, "train.seq_len": 70, "train.steps": 2,
         "eval.every_steps": 0, "checkpoint.every_steps": 0, "optim.schedule.warmup_steps": 1}


class Selfcheck(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="saslm_selfcheck_")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.work = Path(cls.folder.name)
        (cls.work / "text.txt").write_bytes(b"".join(page.read_bytes() for page in sorted((HOUSE / "docs").glob("*.md"))))
        subprocess.run([SASLM, "tokenize", "--input", cls.work / "text.txt", "--tokenizer", "bytes", "--out",
                        cls.work / "data", "--prefix", "train"], check=True, capture_output=True)

    def saslm(self, *words, edit="", cache="cache", config="quickstart_sas", **more):
        settings = {**SMALL, "data.train": f"{self.work}/data/train_*.bin", "data.val": "", "runtime.device": "cuda", **more}
        command = [SASLM, words[0], HOUSE / f"configs/{config}.json", *words[1:],
                   *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={**os.environ, "XDG_CACHE_HOME": str(self.work / cache), "OMP_NUM_THREADS": "1",
                                   **({"PTX_EDIT": edit} if edit else {})})

    def start_of(self, run):
        lines = (self.work / run / "metrics.jsonl").read_text().splitlines()
        return next(e for e in map(json.loads, lines) if e["event"] == "start")

    def test_right_kernels_raise_no_alarm(self):
        for precision in ("bf16", "fp32"):
            done = self.saslm("selfcheck", "--json", **{"runtime.precision": precision})
            self.assertEqual(done.returncode, 0, done.stderr)
            said = json.loads(done.stdout)
            self.assertEqual(said["wrong"], [])
            self.assertEqual(said["calls"], len(said["results"]))
            kernels = {k["kernel"] for call in said["results"] for k in call["kernels"]}
            self.assertEqual(any(re.fullmatch(FAST, k or "") for k in kernels), precision == "bf16", kernels)

    def test_a_wrong_kernel_is_left_out_and_training_goes_on(self):
        for number, (name, (edit, kernels)) in enumerate(LEFT_OUT.items()):
            with self.subTest(name):
                run = f"run{number}"
                done = self.saslm("train", "--run-dir", self.work / run, edit=edit, cache=run + "_cache")
                self.assertEqual(done.returncode, 0, done.stderr)
                start = self.start_of(run)
                self.assertLessEqual(kernels, set(start["avoided"]), start["selfcheck"])
                self.assertTrue(all(re.fullmatch(FAST, k) for k in start["avoided"]), start["avoided"])
                self.assertEqual({w["kernel"] for w in start["selfcheck"]["wrong"]}, set(start["avoided"]))
                self.assertFalse(any(k in start["avoided"] for k in start["kernels"].values()), start["kernels"])
                self.assertIn("self-check: attention_fwd.tile is not used: attention_fwd 2x70", done.stderr + done.stdout)

    def test_what_has_no_right_kernel_ends_the_run(self):
        for number, (name, (edit, operation)) in enumerate(ENDS.items()):
            with self.subTest(name):
                run = f"end{number}"
                done = self.saslm("train", "--run-dir", self.work / run, edit=edit, cache=run + "_cache", config="debug_cpu_mha",
                                  **{"runtime.precision": "bf16"})
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                self.assertRegex(done.stderr, rf"self-check: (?:{operation}) \d.*, gives wrong results on this machine: ")
                self.assertFalse((self.work / run / "metrics.jsonl").exists())

    def test_a_verdict_is_kept_and_can_be_done_without(self):
        for run, more, kept in (("first", {}, False), ("second", {}, True), ("third", {"runtime.selfcheck": "false"}, None)):
            done = self.saslm("train", "--run-dir", self.work / run, cache="kept", config="debug_cpu_mha", **more)
            self.assertEqual(done.returncode, 0, done.stderr)
            said = self.start_of(run)["selfcheck"]
            self.assertEqual(said if kept is None else said["kept"], kept)


if __name__ == "__main__":
    SASLM = sys.argv.pop(1)
    unittest.main()
