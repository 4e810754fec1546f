#!/usr/bin/env python3
"""Several ranks, one of which saves for all: a disk that is slow, full, or read while it fails, and ranks that are killed or
hang while it is written to, lose nothing that was saved, and all ranks end together.

tests/faults/interpose.cpp stands between the program and libc; of the ranks the first alone writes.
"""
import errno
import os
import signal
import time
import unittest

import harness
from harness import DONE, MACHINE, STOPPED, AppTest, Process, checkpoints, events, final_tensors, history, saslm
from ranks import children, left_after

INTERPOSED = os.environ.get("SASLM_INTERPOSED", "")  # the library
STEPS, SAVE_EVERY, TIMEOUT_S = 6, 3, 3
CONFIG = harness.tiny_config("mha", model={"mlp": {"hidden": 160}},
                             train={"steps": STEPS, "micro_batch": 2, "grad_accum": None, "global_batch": 8},
                             eval={"every_steps": 2, "max_sequences": 7},
                             checkpoint={"every_steps": SAVE_EVERY, "keep_last": 3}, runtime={"comm_timeout_s": TIMEOUT_S})
WHOLE, SHARED = (), ("--set", "runtime.zero_stage=1")
BESIDE, ALONE = (), ("--set", "checkpoint.background=false")
FIRST_SAVE = "mkdir /checkpoints/.tmp_"


class RankFaults(AppTest):
    reference = None

    @classmethod
    def setUpClass(cls):
        if not INTERPOSED:
            raise unittest.SkipTest("SASLM_INTERPOSED does not name the library that lets operations fail")
        super().setUpClass()
        if RankFaults.reference is None:
            RankFaults.config = cls.write_config(CONFIG)
            RankFaults.reference, log = cls.fresh("reference"), cls.fresh("operations")
            done = saslm("train", cls.config, "--run-dir", cls.reference, env=cls.faults(cls.reference, "", "", log))
            assert done.code == DONE, done.err
            RankFaults.writes = log.read_text().splitlines()
            RankFaults.saving = next(at for at, one in enumerate(cls.writes) if one.startswith(FIRST_SAVE))

    @staticmethod
    def faults(run, at, do, log=""):
        return {"LD_PRELOAD": INTERPOSED, "FAULTS_UNDER": str(run), "FAULTS_OF": "write", "FAULTS_AT": str(at),
                "FAULTS_DO": str(do), "FAULTS_LOG": str(log)}

    def slow(self, run, lasting_s, log=""):
        """A disk on which a save takes this long."""
        operations = sum("/checkpoints/.tmp_step_00000003" in one for one in self.writes)
        return self.faults(run, f"{self.saving}+", f"slow:{int(1000 * lasting_s / operations) + 1}", log)

    def expect_same(self, run):
        self.assertEqual(history(run), history(self.reference))
        self.assertTrue(final_tensors(run) == final_tensors(self.reference), "weights or moments differ")

    def go_on(self, run, count):
        self.run_ok("train", self.config, "--run-dir", run, "--ranks", count)
        self.assertEqual(list(run.glob("checkpoints/.tmp*")), [])
        self.expect_same(run)

    def train(self, run, count, env, *options, during=lambda launcher, ranks: None):
        """How it ends, by when none of its ranks is left."""
        with Process("train", self.config, "--run-dir", run, "--ranks", count, *options, env=env) as launcher:
            self.assertTrue(launcher.wait_until(lambda: len(children(launcher.pid)) == count))
            ranks = children(launcher.pid)
            during(launcher, ranks)
            done = launcher.wait()
            self.assertEqual(left_after(5, ranks), [])
        return done


class Slow(RankFaults):
    def test_saves_may_take_longer_than_the_time_limit(self):
        for count, options in ((2, SHARED + ALONE), (4, SHARED + BESIDE), (2, WHOLE + ALONE)):
            with self.subTest(count=count, options=options):
                run = self.fresh()
                done = self.train(run, count, self.slow(run, 1.5), "--set", "runtime.comm_timeout_s=1", *options)
                self.assertEqual(done.code, DONE, done.err)
                self.assertGreater(min(event["save_ms"] for event in events(run, "checkpoint")), 1000)
                self.expect_same(run)

    def test_a_signal_while_one_is_written_waits_for_it_and_saves_again(self):
        run, log = self.fresh(), self.fresh("operations")
        log.touch()

        def stop(launcher, ranks):
            self.assertTrue(launcher.wait_until(lambda: FIRST_SAVE in log.read_text()))
            os.kill(ranks[1], signal.SIGTERM)

        done = self.train(run, 2, self.slow(run, 1.5, log), "--set", "train.steps=100000", *SHARED, during=stop)
        self.assertEqual(done.code, STOPPED, done.err)
        self.assertEqual(checkpoints(run)[-1].name, f"step_{harness.steps_done(run):08}")


class Full(RankFaults):
    def test_a_save_that_fails_once_is_a_warning_on_any_ranks(self):
        for count, options in ((2, SHARED), (4, WHOLE), (4, SHARED + ALONE)):
            with self.subTest(count=count, options=options):
                run = self.fresh()
                done = self.train(run, count, self.faults(run, self.saving + 9, errno.ENOSPC), *options)
                self.assertEqual(done.code, DONE, done.err)
                self.assertEqual(done.err.count("warning: the checkpoint of step 3 could not be saved: "), 1, done.err)
                self.expect_same(run)

    def test_a_disk_that_stays_full_ends_all_with_one_clear_word(self):
        for count, options, at in ((2, SHARED, self.saving + 9), (4, WHOLE, self.saving), (4, SHARED, 0), (2, WHOLE, 5)):
            with self.subTest(count=count, options=options, at=at):
                run = self.fresh()
                done = self.train(run, count, self.faults(run, f"{at}+", errno.ENOSPC), *options)
                self.assertEqual(done.code, MACHINE, done.err)
                self.assertEqual(done.err.count("saslm: "), 1, done.err)
                self.assertRegex(done.err, "saslm: rank 0: .*: No space left on device\n")
                self.go_on(run, count)


class Lost(RankFaults):
    def lose(self, number, which, step, patience_s):
        """Within a save of that step; the end is the last."""
        run, log = self.fresh(), self.fresh("operations")
        log.touch()

        def lose(launcher, ranks):
            self.assertTrue(launcher.wait_until(lambda: f".tmp_step_{step:08}" in log.read_text()))
            os.kill(ranks[which], number)
            self.since = time.monotonic()

        done = self.train(run, 2, self.slow(run, 1.5, log), *SHARED, during=lose)
        self.assertLess(time.monotonic() - self.since, patience_s)
        self.assertEqual(done.code, MACHINE, done.err)
        self.assertEqual(done.err.count("saslm: "), 1, done.err)
        self.go_on(run, 2)
        return done.err

    def test_a_rank_that_is_killed_while_a_save_is_written_ends_all_at_once(self):
        for which in (0, 1):
            for step in (SAVE_EVERY, STEPS):
                with self.subTest(rank=which, step=step):
                    self.assertIn(f"rank {which} was ended by signal 9", self.lose(signal.SIGKILL, which, step, 10))

    def test_a_rank_that_hangs_while_the_last_save_is_written_ends_all_when_the_time_is_up(self):
        for which in (0, 1):
            with self.subTest(rank=which):
                err = self.lose(signal.SIGSTOP, which, STEPS, TIMEOUT_S + 15)
                self.assertRegex(err, rf"rank {1 - which}: in the end of .*: no answer from rank {which} within {TIMEOUT_S} s")


if __name__ == "__main__":
    harness.main()
