#!/usr/bin/env python3
"""scripts/gpu_check.py without a GPU: what it makes of what programs print. The programs are stand-ins that print as saslm,
GoogleTest and ncu do; figures of `bench kernels` come from the program itself, on the CPU."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HOUSE = pathlib.Path(__file__).resolve().parents[2]
SASLM = pathlib.Path(sys.argv.pop(1)).resolve() if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else None

# Passes the commands on to the real program, small and on the CPU, but for those that a test answers by itself.
STAND_IN = """#!{python}
import json, os, subprocess, sys, time
words, answers = sys.argv[1:], {answers!r}
for begin, (code, text, wait) in answers.items():
    if " ".join(words).startswith(begin):
        print(text, flush=True)
        time.sleep(wait)
        sys.exit(code)
words = ["cpu" if word == "cuda" else word for word in words]
small = ["--set", "model.vocab_size=257", "--tokens", "64", "--samples", "1", "--sample-ms", "1", "--peak-tflops", "1", "--peak-gb", "1"]
configs = [n for n, word in enumerate(words) if word.endswith(".json")]
for n in configs:
    words[n] = {house!r} + "/configs/debug_cpu_" + ("sas" if "sas" in words[n] else "mha") + ".json"
done = subprocess.run([{saslm!r}, *words, *small], capture_output=True, text=True)
sys.stderr.write(done.stderr)
rows = "50304" if "50304" in " ".join(sys.argv) else "50257"
print(done.stdout.replace("257", rows) if configs else done.stdout)
sys.exit(done.returncode)
"""
RIGHT = {"op": "norm_fwd", "shape": "8x64", "kernels": [{"kernel": None, "right": True, "why": None}]}
WRONG = {"op": "sas_bwd", "shape": "4x16", "kernels": [{"kernel": "fast", "right": False, "why": "0.3 off in dw"},
                                                        {"kernel": "general", "right": True, "why": None}]}


def said(*results):
    return json.dumps({"device": "stand-in", "results": results})


class GpuCheck(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="saslm_gpu_check_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.build, self.path = self.folder / "build", self.folder / "bin"
        self.build.mkdir()
        self.path.mkdir()

    def write(self, path, text):
        path.write_text(text)
        path.chmod(0o755)

    def saslm(self, **answers):
        """`answers`: what its arguments begin with, with _ for blanks: (exit code, text, seconds to wait)."""
        answers = {begin.replace("__", " --").replace("_", " "): answer for begin, answer in answers.items()}
        self.write(self.build / "saslm", STAND_IN.format(python=sys.executable, answers=answers, house=str(HOUSE),
                                                         saslm=str(SASLM)))

    def check(self, only, *options, code=0, fresh=True):
        """Runs the parts; returns (results.json, what was printed). fresh: without what an earlier call left."""
        if fresh:
            shutil.rmtree(self.folder / "out", ignore_errors=True)
        env = dict(os.environ, PATH=f"{self.path}:{os.environ['PATH']}", OMP_NUM_THREADS="1")
        done = subprocess.run([sys.executable, HOUSE / "scripts/gpu_check.py", "--build", self.build, "--out",
                               self.folder / "out", "--only", only, *options], capture_output=True, text=True, env=env)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads((self.folder / "out/results.json").read_text())["parts"], done.stdout

    def test_parts_are_listed_and_none_takes_longer_than_nine_minutes(self):
        done = subprocess.run(["bash", HOUSE / "scripts/gpu_check.sh", "--list"], capture_output=True, text=True, check=True)
        parts = [line.split() for line in done.stdout.splitlines()]
        self.assertEqual([part[0] for part in parts][:4], ["selfcheck", "head", "sas_bwd", "attention_bwd"])
        self.assertTrue(all(0 < float(part[1]) <= 9 for part in parts))
        wrong = subprocess.run(["bash", HOUSE / "scripts/gpu_check.sh", "--list", "--only", "heads"], capture_output=True, text=True)
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("no part is named 'heads'; there are selfcheck, head", wrong.stderr)

    def test_the_three_measurements(self):
        self.saslm()
        parts, printed = self.check("head,sas_bwd,attention_bwd")
        self.assertEqual({part["status"] for part in parts.values()}, {"passed"})
        self.assertEqual(set(parts["head"]["ms"]), {"matmul_fwd", "matmul_bwd"})
        self.assertGreater(parts["head"]["matmul_fwd_times"], 0)
        self.assertEqual({call["op"] for call in parts["sas_bwd"]["calls"]}, {"sas_bwd"})
        self.assertGreater(parts["attention_bwd"]["sas_ns_per_token"], 0)
        if not pathlib.Path("/usr/local/cuda/bin/ncu").exists() and not shutil.which("ncu"):
            self.assertIn("time alone: ncu was not found", parts["attention_bwd"]["note"])
        table = (self.folder / "out/results.txt").read_text()
        self.assertIn("50257, ms", table)
        self.assertIn("ns/token", printed)

    def test_hit_rates_of_ncu(self):
        self.saslm()
        self.write(self.path / "ncu", '#!/bin/sh\necho "==PROF== Connected"\ncat <<END\n"ID","Kernel Name","Metric Name",'
                   '"Metric Unit","Metric Value"\n"0","attention_bwd_kernel(Args)","lts__t_sector_hit_rate.pct","%","61.25"\nEND\n')
        parts, printed = self.check("attention_bwd")
        self.assertEqual(parts["attention_bwd"]["l2_hit_percent"], {"attention_bwd_kernel": 61.25})
        self.assertIn("L2 hit rate of attention_bwd_kernel: 61.2 %", printed)
        self.write(self.path / "ncu", "#!/bin/sh\necho '==ERROR== ERR_NVGPUCTRPERM - no permission'\nexit 1\n")
        parts, _ = self.check("attention_bwd")
        self.assertIn("ERR_NVGPUCTRPERM", parts["attention_bwd"]["note"])
        self.assertNotIn("l2_hit_percent", parts["attention_bwd"])

    def test_selfcheck_right_wrong_and_unknown(self):
        self.saslm(selfcheck__help=(0, "", 0), selfcheck=(0, said(RIGHT, RIGHT), 0))
        self.assertEqual(self.check("selfcheck")[0]["selfcheck"]["calls"], 4)
        self.saslm(selfcheck__help=(0, "", 0), selfcheck=(0, said(RIGHT, WRONG), 0))
        note = self.check("selfcheck", code=1)[0]["selfcheck"]["note"]
        self.assertIn("wrong kernels: fast 4x16: 0.3 off in dw", note)
        self.assertNotIn("none is right", note)
        alone = {**WRONG, "kernels": WRONG["kernels"][:1]}
        self.saslm(selfcheck__help=(0, "", 0), selfcheck=(1, said(alone), 0))
        self.assertIn("none is right for sas_bwd 4x16", self.check("selfcheck", code=1)[0]["selfcheck"]["note"])
        self.saslm(selfcheck=(2, "saslm: there is no command selfcheck", 0))
        part = self.check("selfcheck")[0]["selfcheck"]
        self.assertEqual((part["status"], part["note"]), ("not run", "this saslm knows no command selfcheck"))

    def test_who_hangs_fails_and_who_is_slow_is_left_out(self):
        listed = "if [ \"$1\" = --gtest_list_tests ]; then printf 'A.\\n  One\\nB.\\n  Two\\n'; exit; fi\n"
        self.write(self.build / "gpu_kernels", f"#!/bin/bash\n{listed}case $1 in *A.*) sleep 60 ;; esac\n"
                   "echo '[       OK ] B.Two (1 ms)'\n")
        part = self.check("kernels", "--silence", "1", code=1)[0]["kernels"]
        self.assertIn("A: gpu_kernels said nothing for 1 s and was ended", part["note"])
        self.assertIn("1 of 2 suites", part["note"])
        self.write(self.build / "gpu_kernels", f"#!/bin/bash\n{listed}echo '[       OK ] B.Two (1 ms)'\n"
                   "while :; do sleep 0.5; echo .; done\n")
        parts, printed = self.check("kernels", "--minutes", "0.12")
        self.assertEqual(parts["kernels"]["status"], "partly")
        self.assertTrue(parts["kernels"]["left_out"])
        self.assertIn("not done for want of time: scripts/gpu_check.sh --only kernels", printed)

    def test_no_time_left_is_said_and_an_earlier_call_is_kept(self):
        self.saslm(selfcheck__help=(0, "", 0), selfcheck=(0, said(RIGHT), 0))
        self.check("selfcheck")
        parts, printed = self.check("selfcheck,head", "--minutes", "0.01", fresh=False)
        self.assertEqual(parts["selfcheck"]["status"], "passed")  # of the call before
        self.assertEqual(parts["head"], {"status": "not run", "note": "no time left", "seconds": 0.0})
        self.assertIn("scripts/gpu_check.sh --only selfcheck,head", printed)

    def test_a_baseline_stands_beside_ours(self):
        self.saslm(bench_step=(0, json.dumps({"step_ms": 50.0, "tokens_per_s": 8000.0}), 0))
        baseline = self.folder / "baseline.py"
        row = {"arch": "sas", "mode": "eager", "size": "124m", "B": 4, "T": 128, "step_ms": 100.0, "tokens_per_s": 4000.0}
        baseline.write_text(f"print({json.dumps(json.dumps(row))})")
        parts, printed = self.check("baseline", "--baseline", str(baseline))
        self.assertEqual(parts["baseline"]["ours"][0]["tokens_per_s"], 8000)
        self.assertRegex(printed, r"baseline sas eager +4x128 +100\.0 +4000\n.*saslm sas +4x128 +50\.0 +8000")
        baseline.write_text("import sys; sys.exit('no torch here')")
        self.assertIn("no torch here", self.check("baseline", "--baseline", str(baseline), code=1)[0]["baseline"]["note"])
        self.assertIn("no --baseline FILE", self.check("baseline")[0]["baseline"]["note"])


if __name__ == "__main__":
    unittest.main()
