#!/usr/bin/env python3
"""A comparison on several ranks has the same results as on one rank, however often a rank dies."""
import json
import os
import signal

import harness
from harness import DONE, MACHINE, USER, AppTest, Process, events, saslm
from ranks import as_torchrun, children, left_after
from test_compare import comparison, results, total_steps


class Ranks(AppTest):
    def compare(self, config, folder, *args, env=None):
        return saslm("compare", config, "--run-dir", folder, "--no-plots", *args, env=env)

    @classmethod
    def config_of(cls, base=None, **patch):
        shared = {"train": {"micro_batch": 4, "grad_accum": None, "global_batch": 8, "steps": 20}}
        return cls.write_config(comparison(base=harness.merged(shared, base or {}), seeds=[1], **patch))

    def states(self, folder):
        return {run.name: harness.final_tensors(run) for run in sorted((folder / "runs").iterdir())}

    def test_two_ranks_give_the_results_of_one(self):
        config, one, two = self.config_of(), self.fresh("one"), self.fresh("two")
        self.assertEqual(self.compare(config, one).code, DONE)
        done = self.compare(config, two, "--ranks", 2)
        self.assertEqual(done.code, DONE, done.err)
        self.assertIn("on each of 2 ranks", done.err)
        self.assertEqual(results(two), results(one))
        self.assertTrue(self.states(two) == self.states(one), "weights differ")
        self.assertEqual([events(run, "start")[0]["ranks"] for run in (two / "runs").iterdir()], [2, 2])
        self.assertEqual(self.compare(config, two).code, DONE)  # with nothing left to do, on another number

    def test_a_rank_that_dies_is_named_and_the_comparison_goes_on(self):
        long = {"train": {"micro_batch": 16, "grad_accum": None, "global_batch": 32, "steps": 60}}
        config, folder = self.write_config(comparison(base=long, seeds=[1])), self.fresh("dying")
        with Process("compare", config, "--run-dir", folder, "--no-plots", "--ranks", 2) as process:
            self.assertTrue(process.wait_until(lambda: total_steps(folder) >= 70))
            ranks = children(process.pid)
            self.assertEqual(len(ranks), 2)
            os.kill(ranks[1], signal.SIGKILL)
            done = process.wait()
            self.assertEqual(left_after(5, ranks), [])
        self.assertEqual(done.code, MACHINE, done.err)
        self.assertIn("rank 1 was ended by signal 9", done.err)
        self.assertIn("the same command continues", done.err)
        again = self.compare(config, folder, "--ranks", 2)
        self.assertEqual(again.code, DONE, again.err)
        alone = self.fresh("alone")
        self.assertEqual(self.compare(config, alone).code, DONE)
        self.assertEqual(results(folder), results(alone))
        self.assertTrue(self.states(folder) == self.states(alone), "weights differ")

    def test_a_run_that_diverges_ends_no_rank(self):
        wild = {"optim.lr": 5.0, "train.max_bad_steps": 1, "train.spike_threshold": 1.0, "train.spike_window": 2}
        config = self.config_of(variants=[{"name": "wild", "set": wild}, {"name": "mha"}], baseline="mha")
        report = json.loads(self.compare(config, self.fresh(), "--ranks", 2, "--json").out)
        self.assertEqual([run["status"] for run in report["runs"]], ["diverged", "finished"])

    def test_seconds_are_measured_on_all_ranks(self):
        any_length = {"optim": {"schedule": {"warmup_steps": 0}}}  # on a busy machine it is a few steps
        config, folder = self.config_of(any_length, budget="seconds", budget_value=0.3), self.fresh()
        done = self.compare(config, folder, "--ranks", 2)
        self.assertEqual(done.code, DONE, done.err)
        self.assertEqual(json.loads((folder / "comparison.json").read_text())["ranks"], 2)
        done = self.compare(config, folder)
        self.assertEqual(done.code, USER)
        self.assertIn("ranks: 2 before, 1 now", done.err)
        self.assertEqual(self.compare(config, folder, "--report-only").code, DONE)

    def test_what_cannot_be_is_refused_once(self):
        folder = self.fresh()
        for arguments, env, phrase in (
                (("--ranks", 3), None, "ranks"),
                (("--ranks", 4), as_torchrun(0, 2, 4000), "a launcher started 2"),
                (("--ranks", 2), None, "")):
            config = self.config_of() if phrase else self.config_of(eval_points=1)
            if not phrase:
                broken = comparison(base={"data": {"val": "absent.bin"}}, seeds=[1])
                config, phrase = self.write_config(broken), "absent.bin"
            done = self.compare(config, folder, *arguments, env=env)
            self.assertEqual(done.code, USER, done.err)
            self.assertEqual(done.err.count(phrase), 1, done.err)
            self.assertFalse(folder.exists())

    def test_the_device_is_chosen_as_for_a_run(self):
        config, folder = self.config_of({"runtime": {"device": "auto"}}), self.fresh()
        done = self.compare(config, folder, "--device", "cpu")
        self.assertEqual(done.code, DONE, done.err)
        self.assertIn("device: cpu", done.err)
        record = json.loads((folder / "comparison.json").read_text())
        self.assertEqual(record["variants"]["mha"]["config"]["runtime"]["device"], "cpu")
        self.assertEqual(self.compare(config, folder, "--device", "gpu").code, USER)
        other = self.compare(config, folder, "--device", "auto")
        self.assertIn('runtime.device: "cpu" before, "auto" now', other.err)


if __name__ == "__main__":
    harness.main()
