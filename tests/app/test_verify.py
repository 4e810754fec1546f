#!/usr/bin/env python3
"""`diff` finds the first record and tensor in which two runs differ; `verify` trains a part of a run again."""
import fcntl
import json
import shutil

import harness
from harness import DONE, USER, AppTest, checkpoints, saslm

DIFFERS = 4
CONFIG = harness.tiny_config("sas", train={"steps": 12, "grad_accum": 2}, eval={"every_steps": 6},
                             checkpoint={"every_steps": 4, "keep_last": 9})


class VerifyTest(AppTest):
    run_ = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if VerifyTest.run_ is None:
            VerifyTest.config = cls.write_config(CONFIG)
            VerifyTest.run_ = cls.fresh()
            assert saslm("train", cls.config, "--run-dir", cls.run_).code == DONE

    def found(self, *args):
        done = saslm(*args, "--json")
        self.assertEqual(done.code, DIFFERS, done.err)
        return json.loads(done.out)

    def another(self, *settings):
        run = self.fresh()
        self.run_ok("train", self.config, "--run-dir", run, *(x for s in settings for x in ("--set", s)))
        return run


class Changed(VerifyTest):
    def test_settings_that_changed_on_the_way_are_told(self):
        run = self.another("train.steps=6")
        self.run_ok("train", self.config, "--run-dir", run, "--set", "optim.lr=1e-4")
        self.assertEqual(len(harness.events(run, "start")[-1]["changed"]), 2)
        told = saslm("verify", run, "--from", 0)
        self.assertEqual(told.code, DIFFERS)
        self.assertIn("at step 6: optim.lr: 0.003 in the checkpoint, 0.0001 now", told.err)
        self.assertNotIn("settings changed", self.run_ok("verify", run).err)


class Diff(VerifyTest):
    def test_a_run_is_itself(self):
        same = self.run_json("diff", self.run_, self.run_)
        self.assertEqual(same["checkpoints_compared"], [4, 8, 12])
        self.assertEqual(same["records_compared"], 12 + 3)
        self.assertIn("bit-identical", self.run_ok("diff", self.run_, self.run_).out)

    def test_the_first_step_and_tensor_are_named(self):
        found = self.found("diff", self.run_, self.another("optim.weight_decay=0.2"))
        # The first update already differs; losses show it one step later.
        self.assertEqual((found["first_record"]["step"], found["first_record"]["event"]), (1, "step"))
        self.assertEqual(found["checkpoints_compared"], [4])
        self.assertIn("embed.weight", [tensor["name"] for tensor in found["tensors"]])
        said = saslm("diff", self.run_, self.another("train.seed=2")).out
        self.assertIn("first differing record: eval 0, val_loss: ", said)
        self.assertIn("first differing checkpoint: step 4", said)

    def without_steps(self, *steps):
        """A copy of the run, whose metrics lack them."""
        run = self.fresh()
        shutil.copytree(self.run_, run)
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
        (run / "metrics.jsonl").write_text("".join(line for line in lines
                                                   if not any(f'"step","step":{step},' in line for step in steps)))
        return run

    def test_steps_that_one_run_lacks_between_others_are_a_difference(self):
        run = self.without_steps(7, 9)
        found = self.found("diff", self.run_, run)
        self.assertFalse(found["same"])
        self.assertEqual(found["steps_only_in"], {"a": 2, "b": 0})
        self.assertEqual(found["steps_beyond"], {"a": 0, "b": 0})
        self.assertEqual(self.found("diff", run, self.run_)["steps_only_in"], {"a": 0, "b": 2})
        said = saslm("diff", run, self.run_).out
        self.assertIn(f"steps recorded in {self.run_} but not in {run}: 2, first step 7", said)
        self.assertNotIn("bit-identical", said)

    def test_a_run_that_is_shorter_is_said_to_be_and_is_no_difference(self):
        run = self.without_steps(10, 11)
        found = self.run_json("diff", self.run_, run)
        self.assertTrue(found["same"])
        self.assertEqual(found["steps_only_in"], {"a": 0, "b": 0})
        self.assertEqual(found["steps_beyond"], {"a": 2, "b": 0})
        said = self.run_ok("diff", run, self.run_).out
        self.assertIn("bit-identical: 13 records", said)
        self.assertIn(f"steps of {self.run_} outside the range of {run}: 2, not compared", said)

    def test_how_often_a_run_evaluates_is_no_difference(self):
        found = self.run_json("diff", self.run_, self.another("eval.every_steps=5"))
        self.assertEqual(found["records_compared"], 12 + 2)  # before the first step and after the last

    def test_checkpoints_alone(self):
        first, second = checkpoints(self.run_)[:2]
        self.run_ok("diff", first, first)
        tensors = self.found("diff", first, second)["tensors"]
        self.assertEqual(tensors[0]["elements"], 64 * 32)
        self.assertGreater(tensors[0]["differing"], 0)

    def test_what_cannot_be_compared(self):
        other_model = self.fresh()
        config = self.write_config(harness.merged(CONFIG, {"model": {"mlp": {"hidden": 32}}}))
        self.run_ok("train", config, "--run-dir", other_model)
        empty = self.fresh()
        empty.mkdir()
        for a, b, phrase in ((self.run_, checkpoints(self.run_)[0], "two runs or two checkpoints"),
                             (self.run_, self.fresh(), "nothing here"), (self.run_, empty, "in common"),
                             (self.run_, other_model, "another shape")):
            with self.subTest(phrase):
                done = saslm("diff", a, b)
                self.assertEqual(done.code, USER, done.err)
                self.assertIn(phrase, done.err)


class Verify(VerifyTest):
    def test_a_run_comes_out_the_same_from_any_of_its_checkpoints_and_from_the_start(self):
        for args, stretch in (((), (8, 12)), (("--from", 0), (0, 12)), (("--from", 4, "--to", 12), (4, 12)),
                              (("--to", 8), (4, 8))):
            with self.subTest(args):
                found = self.run_json("verify", self.run_, *args)
                self.assertEqual((found["from"], found["to"]), stretch)
                self.assertEqual(found["records_compared"], stretch[1] - stretch[0])
                self.assertFalse((self.run_ / "verify").exists())

    def test_a_run_that_is_not_what_its_config_says_is_found_out(self):
        run = self.another("optim.weight_decay=0.2")
        found = self.found("verify", run, "--set", "optim.weight_decay=0.1")
        self.assertTrue(found["tensors"])
        self.assertEqual(found["first_record"]["step"], 9)

    def test_a_damaged_checkpoint_is_not_compared_with(self):
        run = self.fresh()
        shutil.copytree(self.run_, run)
        (checkpoints(run)[-1] / "state.json").write_text("{}")
        self.assertEqual(self.run_json("verify", run)["to"], 8)
        self.assertIn("skipped checkpoint " + str(checkpoints(run)[-1]), saslm("verify", run).err)
        done = saslm("verify", run, "--to", 12)
        self.assertEqual(done.code, USER)
        self.assertIn("state.json", done.err)

    def test_the_run_is_not_touched(self):
        before = {path: path.stat().st_mtime_ns for path in self.run_.rglob("*") if path.is_file()}
        self.run_ok("verify", self.run_)
        self.assertEqual({path: path.stat().st_mtime_ns for path in self.run_.rglob("*") if path.is_file()}, before)

    def test_what_a_killed_replay_left_is_used_anew_and_nothing_else(self):
        run = self.fresh()
        shutil.copytree(self.run_, run)
        work = run / "verify"
        (work / "run" / "checkpoints").mkdir(parents=True)
        (work / "run" / "metrics.jsonl").write_text("half a li")
        lock = work / ".lock"
        lock.touch()
        with lock.open() as held:  # by a replay that is still alive
            fcntl.flock(held, fcntl.LOCK_EX)
            done = saslm("verify", run)
            self.assertEqual(done.code, USER)
            self.assertIn("in use", done.err)
        self.run_ok("verify", run)
        self.assertFalse(work.exists())
        work.mkdir()
        (work / "thesis.txt").write_text("all of it")
        done = saslm("verify", run)
        self.assertEqual(done.code, USER)
        self.assertIn("thesis.txt", done.err)
        self.assertEqual([path.name for path in work.iterdir()], ["thesis.txt"])

    def test_another_build_is_said(self):
        said = "another build of saslm saved the checkpoint"
        self.assertNotIn("another build", saslm("verify", self.run_).err)
        done = saslm("verify", self.run_, program=harness.another_build(self.fresh("saslm")))
        self.assertEqual(done.code, DONE, done.err)
        self.assertIn(said, done.err)

    def test_where_there_is_nothing_to_replay(self):
        run = self.another("checkpoint.every_steps=0")
        done = saslm("verify", run)
        self.assertEqual(done.code, USER, done.err)
        self.assertIn("--from 0", done.err)
        self.run_ok("verify", run, "--from", 0)
        for args, phrase in ((("--from", 4), "of step 4"), (("--to", 5), "of step 5")):
            self.assertIn(phrase, saslm("verify", run, *args).err)


if __name__ == "__main__":
    harness.main()
