#!/usr/bin/env python3
"""Ranks with sharded optimizer state train bit-identically to one rank, and save complete checkpoints."""
import os
import shutil

import harness
from harness import DONE, MACHINE, USER, AppTest, checkpoints, final_tensors, history, saslm
from ranks import as_torchrun, by_hand, free_port, mpirun, without_mpi

STEPS = 30
ZERO = ("--set", "runtime.zero_stage=1")
LIBRARY = ("--set", "runtime.gradient_sum=library")
# Wide enough that four ranks have blocks of 4096 weights to share, and some of them an empty share.
WIDE = {"mlp": {"hidden": 160}}


def config_of(kind):
    """Four micro-batches a step, 4, 2 or 1 on a rank."""
    return harness.tiny_config(kind, model=WIDE, train={"steps": STEPS, "micro_batch": 2, "grad_accum": None, "global_batch": 8},
                               eval={"every_steps": 10, "max_sequences": 7}, checkpoint={"every_steps": 10})


class ShardingTest(AppTest):
    config, reference = {}, {}  # by name: the file, and the run of one rank

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.config = {kind: cls.write_config(config_of(kind)) for kind in ("mha", "sas")}

    def train(self, name, run, ranks, *options):
        return self.run_ok("train", self.config[name], "--run-dir", run, "--ranks", ranks, *options)

    def one_rank(self, name):
        if name not in self.reference:
            run = self.fresh(f"{name}_reference")
            self.train(name, run, 1)
            self.reference[name] = run
        return self.reference[name]

    def expect_same(self, name, run):
        self.assertEqual(history(run), history(self.one_rank(name)))
        self.assertTrue(final_tensors(run) == final_tensors(self.one_rank(name)), "weights or moments differ")


class SameBits(ShardingTest):
    def test_one_two_and_four_ranks_learn_the_same_bits_with_and_without_shares(self):
        for name in ("sas", "mha"):
            for ranks, options in ((1, ZERO), (2, ()), (2, ZERO), (4, ()), (4, ZERO)):
                with self.subTest(name=name, ranks=ranks, options=options):
                    run = self.fresh()
                    self.assertNotIn("warning", self.train(name, run, ranks, *options).err)
                    self.expect_same(name, run)

    def test_they_do_so_under_mpirun_too(self):
        if reason := without_mpi():
            self.skipTest(reason)
        for name, ranks in (("sas", 2), ("mha", 4)):
            with self.subTest(name=name, ranks=ranks):
                run = self.fresh()
                done = mpirun((ranks, os.environ["SASLM"], "train", self.config[name], "--run-dir", run, *ZERO))
                self.assertEqual(done.code, DONE, done.err)
                self.expect_same(name, run)

    def test_a_run_goes_on_with_other_ranks_and_other_shares(self):
        run = self.fresh()
        shutil.copytree(self.one_rank("sas"), run)
        # From nothing, step 10, step 20, step 10, step 20.
        for ranks, options, kept in ((4, (), 0), (2, ZERO, 1), (1, (), 2), (4, ZERO, 1), (4, (), 2)):
            for path in checkpoints(run)[kept:]:
                shutil.rmtree(path)
            if kept == 0:
                (run / "metrics.jsonl").unlink()
            self.assertNotIn("changed", self.train("sas", run, ranks, *options).err)
            self.expect_same("sas", run)

    def test_eight_ranks_of_which_some_have_no_share(self):
        more = ("--set", "train.global_batch=16")
        one = self.fresh()
        self.train("sas", one, 1, *more)
        for options in ((), ZERO):
            run = self.fresh()
            self.train("sas", run, 8, *more, *options)
            self.assertEqual(history(run), history(one))
            self.assertTrue(final_tensors(run) == final_tensors(one), "weights or moments differ")

    def test_weights_to_start_from_reach_every_rank(self):
        start = checkpoints(self.one_rank("mha"))[-1]
        runs = [self.fresh(), self.fresh()]
        for run, ranks, options in zip(runs, (1, 4), ((), ZERO)):
            self.train("mha", run, ranks, "--init-from", start, *options)
        self.assertEqual(history(runs[0]), history(runs[1]))
        self.assertTrue(final_tensors(runs[0]) == final_tensors(runs[1]))
        self.assertNotEqual(history(runs[0])[1]["loss"], history(self.one_rank("mha"))[1]["loss"])


class Library(ShardingTest):
    def test_ranks_whose_library_sums_learn_as_well(self):
        if reason := without_mpi():
            self.skipTest(reason)
        fixed = [event["loss"] for event in history(self.one_rank("mha")) if event["event"] == "step"]
        for options in (LIBRARY, (*LIBRARY, *ZERO)):
            with self.subTest(options):
                run = self.fresh()
                done = mpirun((4, os.environ["SASLM"], "train", self.config["mha"], "--run-dir", run, *options))
                self.assertEqual(done.code, DONE, done.err)
                losses = [event["loss"] for event in history(run) if event["event"] == "step"]
                self.assertEqual(len(losses), STEPS)
                for one, other in zip(losses, fixed):
                    self.assertAlmostEqual(one, other, delta=1e-4)

    def test_ranks_without_a_library_are_told_what_would_have_one(self):
        run = self.fresh()
        done = saslm("train", self.config["mha"], "--run-dir", run, "--ranks", 2, *LIBRARY)
        self.assertEqual(done.code, USER, done.err)
        self.assertEqual(done.err.count("saslm: "), 1, done.err)
        self.assertIn("set runtime.gradient_sum to fixed, or start the ranks with mpirun", done.err)
        self.assertFalse(run.exists(), "a refused start left a folder")


class Plans(ShardingTest):
    def plan(self, *options):
        return self.run_json("plan", self.config["mha"], *options)

    def test_a_plan_for_ranks_shows_what_shares_save(self):
        whole = self.plan("--ranks", 4)["bytes_by_region"]
        shares = self.plan("--ranks", 4, *ZERO)["bytes_by_region"]
        self.assertLess(shares["optimizer"], whole["optimizer"] / 2)
        self.assertGreaterEqual(shares["optimizer"], whole["optimizer"] / 4)
        for region in ("parameters", "gradients", "activations"):
            self.assertEqual(shares[region], whole[region])
        self.assertEqual(self.plan(*ZERO), {**self.plan(), "zero_stage": 1})
        self.assertIn("ranks (this is one)", self.run_ok("plan", self.config["mha"], "--ranks", 2).out)

    def test_a_runs_memory_is_the_plans(self):
        run = self.fresh()
        self.train("mha", run, 2, *ZERO)
        self.assertEqual(harness.events(run, "start")[0]["arena_bytes"], self.plan("--ranks", 2, *ZERO)["arena_bytes"])

    def test_ranks_that_a_step_cannot_be_shared_by_are_refused(self):
        for ranks, phrase in ((3, "got 3"), (8, "8 ranks"), (0, "--ranks")):
            done = saslm("plan", self.config["mha"], "--ranks", ranks)
            self.assertEqual(done.code, USER)
            self.assertIn(phrase, done.err)


class Refused(ShardingTest):
    def test_ranks_that_share_differently(self):
        run = self.fresh()
        for change, difference in ((ZERO, "runtime.zero_stage is 0 on rank 0, 1 on rank 1"),
                                   (LIBRARY, 'runtime.gradient_sum is "fixed" on rank 0, "library" on rank 1')):
            with self.subTest(change):
                port = free_port()
                with by_hand([as_torchrun(rank, 2, port) for rank in (0, 1)], self.config["mha"], "--run-dir", run,
                             more=change) as ranks:
                    ends = [rank.wait() for rank in ranks]
                self.assertEqual([end.code for end in ends], [USER, MACHINE])
                self.assertIn(difference, ends[0].err)
                self.assertFalse(run.exists(), "a refused start left a folder")


if __name__ == "__main__":
    harness.main()
