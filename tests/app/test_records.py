#!/usr/bin/env python3
"""A run's metrics.jsonl agrees with its checkpoints, and its ends are kept."""
import json
import shutil
from pathlib import Path

import harness
from harness import DONE, USER, AppTest, checkpoints, events, read_metrics, saslm, tiny_config


class Records(AppTest):
    CONFIG = tiny_config(train={"steps": 20}, checkpoint={"every_steps": 5, "keep_last": 9})

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.config = cls.write_config(cls.CONFIG)
        cls.reference = cls.fresh()
        done = saslm("train", cls.config, "--run-dir", cls.reference)
        assert done.code == DONE, done.err

    def copy_of(self, keep):
        """The run, with those of its events."""
        run = self.fresh()
        shutil.copytree(self.reference, run)
        lines = [json.dumps(event) + "\n" for event in read_metrics(run) if keep(event)]
        (run / "metrics.jsonl").write_text("".join(lines))
        return run

    def problem(self, run):
        done = saslm("inspect", run, "--json")
        problem = json.loads(done.out)["problem"]
        self.assertEqual(done.code, USER if problem else DONE)
        return problem

    def test_steps_without_a_record_are_told_and_marked(self):
        self.assertIsNone(self.problem(self.reference))
        run = self.copy_of(lambda event: event.get("step", 0) < 12)
        self.assertIn("lacks the steps 12 to 19", self.problem(run))
        told = self.run_ok("train", self.config, "--run-dir", run)
        self.assertIn("no record of the steps 12 to 19", told.err)
        marks = events(run, "missing_steps")
        self.assertEqual([(mark["first"], mark["last"]) for mark in marks], [(12, 19)])
        self.assertIn("12 to 19", self.problem(run))
        self.assertNotIn("no record", self.run_ok("train", self.config, "--run-dir", run).err)  # once
        self.assertEqual(events(run, "missing_steps"), marks)
        # From an earlier checkpoint on, the steps are made again, and the mark is no longer true.
        for path in checkpoints(run)[1:]:
            shutil.rmtree(path)
        self.run_ok("train", self.config, "--run-dir", run)
        self.assertEqual(events(run, "missing_steps"), [])
        self.assertEqual(harness.history(run)[-1], harness.history(self.reference)[-1])
        self.assertIsNone(self.problem(run))

    def test_a_hole_between_others_and_a_record_that_is_gone(self):
        run = self.copy_of(lambda event: event["event"] != "step" or event["step"] not in (3, 4, 9))
        self.assertIn("steps 3 to 4, 9", self.problem(run))
        (run / "metrics.jsonl").unlink()
        self.assertIn("is missing, and with it the steps 0 to 19", self.problem(run))
        self.assertIn("0 to 19", self.run_ok("train", self.config, "--run-dir", run).err)

    def test_a_record_that_is_newer_is_cut_and_steps_twice_are_told(self):
        run = self.copy_of(lambda event: True)
        for path in checkpoints(run)[2:]:
            shutil.rmtree(path)
        self.assertIsNone(self.problem(run))  # as after a kill
        self.assertNotIn("warning", self.run_ok("train", self.config, "--run-dir", run).err)
        self.assertEqual(harness.history(run), harness.history(self.reference))
        with open(run / "metrics.jsonl", "a") as file:
            file.write(json.dumps(events(run, "step")[7]) + "\n")
        self.assertIn("1 steps recorded twice", self.problem(run))
        self.assertIn("on record twice", self.run_ok("train", self.config, "--run-dir", run).err)

    def test_the_record_of_another_run_is_told(self):
        other = self.fresh()
        self.run_ok("train", self.config, "--run-dir", other, "--set", "train.seed=3")
        run = self.copy_of(lambda event: True)
        shutil.copy(other / "metrics.jsonl", run)
        self.assertIn("two different runs", self.problem(run))
        self.assertIn("of two runs", self.run_ok("train", self.config, "--run-dir", run).err)
        self.assertEqual(len(events(run, "other_state")), 1)

    def test_a_last_evaluation_that_cannot_be_read_is_made_again(self):
        run = self.copy_of(lambda event: True)
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
        last = max(i for i, line in enumerate(lines) if json.loads(line)["event"] == "eval")
        for damaged in ("\0" * (len(lines[last]) - 1) + "\n", lines[last][:20] + "\n", ""):
            with self.subTest(damaged):
                (run / "metrics.jsonl").write_text("".join(lines[:last] + [damaged] + lines[last + 1:]))
                self.assertIn("lacks the final evaluation, at step 20", self.problem(run))
                summary = self.run_json("train", self.config, "--run-dir", run)
                self.assertEqual(summary["val_loss"], events(self.reference, "eval")[-1]["val_loss"])
                evals = [[(event["step"], event["val_loss"]) for event in events(of, "eval")]
                         for of in (run, self.reference)]
                self.assertEqual(*evals)
                self.assertIsNone(self.problem(run))


class Ends(AppTest):
    def config_until(self, steps):
        return self.write_config(tiny_config(train={"steps": steps}, eval={"every_steps": 0},
                                             checkpoint={"every_steps": 2, "keep_last": 1}))

    def test_the_end_of_a_run_that_is_extended_is_kept(self):
        run = self.fresh()
        for steps in (5, 9, 14):
            told = self.run_ok("train", self.config_until(steps), "--run-dir", run)
        self.assertEqual([path.name for path in checkpoints(run)], ["step_00000005", "step_00000009", "step_00000014"])
        self.run_ok("eval", "--checkpoint", checkpoints(run)[0], "--data", self.folder / "val.bin")
        self.assertIn("removed", told.err)

    def test_each_removal_is_on_record(self):
        run = self.fresh()
        told = self.run_ok("train", self.config_until(9), "--run-dir", run)
        removed = events(run, "checkpoint_removed")
        self.assertEqual([event["removed_step"] for event in removed], [2, 4, 6, 8])
        for event in removed:
            self.assertFalse(Path(event["path"]).exists())
            self.assertIn("removed " + event["path"], told.err)

    def test_a_step_that_was_passed_and_is_now_the_end_is_kept_as_one(self):
        long = self.write_config(tiny_config(train={"steps": 9}, eval={"every_steps": 0},
                                             checkpoint={"every_steps": 2, "keep_last": 9}))
        for end in (6, 5):  # of a run that is at step 6, of 9
            with self.subTest(end):
                run = self.fresh()
                self.run_ok("train", long, "--run-dir", run)
                for path in checkpoints(run)[3:]:
                    shutil.rmtree(path)
                for _ in range(2):  # the second time there is nothing to do
                    self.run_ok("train", self.config_until(end), "--run-dir", run)
                    self.assertEqual([path.name for path in checkpoints(run)], ["step_00000006"])
                    config = json.loads((checkpoints(run)[0] / "config.json").read_text())
                    self.assertEqual(config["train"]["steps"], end)
                    self.assertIsNone(self.run_json("inspect", run)["problem"])
                self.assertEqual([event["step"] for event in events(run, "checkpoint")], [2, 4, 6, 6])
                self.run_ok("train", self.config_until(12), "--run-dir", run)
                self.assertEqual([path.name for path in checkpoints(run)], ["step_00000006", "step_00000012"])


if __name__ == "__main__":
    harness.main()
