#!/usr/bin/env python3
"""How a comparison handles runs whose metrics.jsonl was changed or damaged."""
import json
import shutil
import signal
import time

import harness
from harness import DONE, saslm
from test_compare import RUNS, STEPS, CompareTest, comparison, total_steps


class Metrics(CompareTest):
    def copy(self):
        folder = self.fresh("changed")
        shutil.copytree(self.reference, folder)
        return folder

    def change(self, folder, run, change):
        """`change` makes a new list of lines (bytes) from the old."""
        path = folder / "runs" / run / "metrics.jsonl"
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    def at(self, folder, run, ms):
        """Sets the time of every step of the run."""
        def change(lines):
            found = [json.loads(line) for line in lines]
            return [json.dumps({**e, "step_ms": ms} if e["event"] == "step" else e).encode() + b"\n" for e in found]
        self.change(folder, run, change)

    def report(self, folder, *args):
        done = self.compare(self.config, folder, "--report-only", "--json", *args)
        self.assertEqual(done.code, DONE, done.err)
        return json.loads(done.out)

    def last_eval(self, lines):
        return max(i for i, line in enumerate(lines) if b'"eval"' in line)

    def test_a_lost_last_evaluation_is_made_again(self):
        for lost in (None, b"\xff\xfe\n", b'{"event":"eval","step":40,"val_loss":\n'):
            folder = self.copy()
            self.change(folder, RUNS[1], lambda lines: [*lines[:(at := self.last_eval(lines))], *([lost] if lost else []),
                                                        *lines[at + 1:]])
            report = self.report(folder)
            self.assertEqual(report["runs"][1]["status"], "partial")
            self.assertIn("The evaluation of its last step is missing", report["runs"][1]["note"])
            self.assertFalse(report["complete"])
            done = self.compare(self.config, folder)
            self.assertEqual(done.code, DONE, done.err)
            self.assertIn("it is repeated", done.err)
            self.expect_same_as_reference(folder)

    def test_bytes_that_are_no_text_cost_a_line(self):
        folder = self.copy()
        self.change(folder, RUNS[2], lambda lines: [*lines[:5], b"\xff\xff\n", *lines[5:]])
        report = self.report(folder)
        self.assertEqual(report["runs"][2]["status"], "finished")
        self.assertIn("1 unreadable line", report["runs"][2]["note"])
        self.assertEqual(report["variants"], json.loads((self.reference / "results.json").read_text())["variants"])

    def test_a_loss_beyond_all_is_named_and_the_rest_reported(self):
        folder = self.copy()

        def ruin(lines):
            at = self.last_eval(lines)
            event = {**json.loads(lines[at]), "val_loss": 800.0, "val_ppl": None}
            return [*lines[:at], json.dumps(event).encode() + b"\n", *lines[at + 1:]]

        self.change(folder, RUNS[3], ruin)
        done = saslm("compare", self.config, "--run-dir", folder, "--report-only")
        self.assertEqual(done.code, DONE, done.err)
        self.assertIn("sas_seed2: Its loss of 800.0000 is worse than guessing (4.1589)", done.out)
        self.assertIn("inf", done.out)
        self.assertNotIn("failed", done.err)
        if "report:" in done.err:
            self.assertIn("worse than guessing", (folder / "report.html").read_text())

    def test_speeds_that_disagree_give_no_figure_at_equal_time(self):
        folder = self.copy()
        for run, ms in zip(RUNS, (10.0, 12.0, 10.2, 12.3)):
            self.at(folder, run, ms)
        steady = self.report(folder)["variants"][1]["timing"]
        self.assertEqual(steady["at_equal_seconds"]["difference"]["pairs"], 2)
        self.assertIsNone(steady["at_equal_seconds"]["why_not"])
        self.at(folder, RUNS[3], 34.0)
        unsteady = self.report(folder)["variants"][1]["timing"]
        self.assertIsNone(unsteady["at_equal_seconds"]["difference"]["mean"])
        self.assertFalse(unsteady["at_equal_seconds"]["difference"]["shown"])
        self.assertIn("the runs of sas went at", unsteady["at_equal_seconds"]["why_not"])
        for name in ("results.csv", "results.md"):
            self.assertIn("the runs of sas went at", (folder / name).read_text())

    def test_a_report_of_long_runs_takes_seconds(self):
        steps, folder = 20000, self.fresh("long")
        config = self.write_config(comparison(base={"train": {"steps": steps}}, eval_points=4))
        self.assertEqual(self.compare(config, folder, "--dry-run").code, DONE)
        with self.background(config, folder) as process:  # for its record
            process.wait_until(lambda: total_steps(folder) >= 1)
            process.send(signal.SIGKILL)
        line = ('{"event":"step","step":%d,"loss":3.25,"grad_norm":1.25,"lr":0.0003,"tokens":%d,"step_ms":51.25,'
                '"tokens_per_s":160000.5,"mfu":null}\n')
        text = "".join(line % (n, 256 * n) for n in range(steps))
        for run in RUNS:
            (folder / "runs" / run).mkdir(exist_ok=True)
            (folder / "runs" / run / "metrics.jsonl").write_text(text)
        begin = time.monotonic()
        report = json.loads(self.compare(config, folder, "--report-only", "--json").out)
        self.assertLess(time.monotonic() - begin, 8)  # more than a minute where every line is sought in the whole file
        self.assertEqual([run["steps_done"] for run in report["runs"]], [steps] * 4)

    def test_times_that_are_none_cost_that_run_its_speed_alone(self):
        whole = json.loads((self.reference / "results.json").read_text())
        for ms in (-3.0, 0, 1e300, "fast", None, [1]):
            with self.subTest(ms=ms):
                folder = self.copy()
                self.at(folder, RUNS[1], ms)
                report = self.report(folder)
                self.assertTrue(report["complete"])
                run = report["runs"][1]
                self.assertEqual((run["status"], run["steps_done"], run["val_loss"]),
                                 ("finished", STEPS, whole["runs"][1]["val_loss"]))
                self.assertIn(f"step_ms of {STEPS} steps is not a valid time", run["note"])
                self.assertEqual(run["timing"], {"tokens_per_s": None, "seconds": None})
                for number in (0, 2, 3):
                    self.assertEqual(report["runs"][number], whole["runs"][number])
                for variant, before in zip(report["variants"], whole["variants"]):
                    for key in ("at_equal_tokens", "at_equal_flops", "val_loss"):
                        self.assertEqual(variant[key], before[key], key)
                self.assertIsNone(report["variants"][1]["timing"]["at_equal_seconds"]["difference"]["mean"])
                self.assertIn("is not a valid time", self.compare(self.config, folder, "--report-only").out)

    def test_numbers_that_json_has_not_cost_their_lines(self):
        folder = self.copy()
        self.at(folder, RUNS[1], float("nan"))
        report = self.report(folder)
        self.assertEqual(report["runs"][1]["status"], "finished")
        self.assertIn(f"{STEPS} unreadable lines", report["runs"][1]["note"])

    def test_seeds_that_agree_to_the_last_digit_have_no_spread(self):
        folder = self.copy()
        for variant in ("mha", "sas"):
            shutil.copy(folder / "runs" / f"{variant}_seed1" / "metrics.jsonl", folder / "runs" / f"{variant}_seed2")
        done = saslm("compare", self.config, "--run-dir", folder, "--report-only")
        self.assertEqual(done.code, DONE, done.err)
        for row in (line for line in done.out.splitlines() if line.startswith(("mha  ", "sas  "))):
            self.assertRegex(row, r"\d \(no spread\)")
            self.assertNotIn("±", row)
        self.assertIn("mha_seed1 and mha_seed2 ended with identical losses", done.out)
        if "report:" in done.err:
            self.assertIn("(no spread)", (folder / "report.html").read_text())


if __name__ == "__main__":
    harness.main()
