#!/usr/bin/env python3
"""A rank that is killed or hangs ends all others, is named, and the run goes on."""
import os
import signal
import time

import harness
from harness import DONE, MACHINE, Process, checkpoints, saslm
from ranks import MPIRUN, TIMEOUT_S, RanksTest, as_torchrun, by_hand, children, free_port, left_after, without_mpi


class Lost(RanksTest):
    def lose(self, number, which, count, patience_s, name="long"):
        """Ends a run by a signal to one rank; returns its output. The resumed run must be bit-identical."""
        run = self.fresh()
        with self.training(name, count, run) as (launcher, ranks):
            self.assertTrue(launcher.wait_until(lambda: checkpoints(run)))
            os.kill(ranks[which], number)
            since = time.monotonic()
            done = launcher.wait()
            self.assertLess(time.monotonic() - since, patience_s)
            self.assertEqual(left_after(10, ranks), [])
        self.assertEqual(done.code, MACHINE, done.err)
        self.said_once("saslm: ", done.err)
        self.assertEqual(saslm("inspect", checkpoints(run)[-1]).code, DONE)
        self.go_on(name, run, count)
        return done.err

    def lose_by_hand(self, number, which, count, patience_s, name="long"):
        """The same without a launcher to end the others."""
        run, port = self.fresh(), free_port()
        environments = [as_torchrun(rank, count, port) for rank in range(count)]
        with by_hand(environments, self.config[name], "--run-dir", run) as ranks:
            self.assertTrue(ranks[0].wait_until(lambda: checkpoints(run)))
            ranks[which].send(number)
            since = time.monotonic()
            others = [rank.wait() for rank in ranks if rank is not ranks[which]]
            self.assertLess(time.monotonic() - since, patience_s)
        self.assertEqual({rank.code for rank in others}, {MACHINE})
        err = "".join(rank.err for rank in others)
        self.said_once("saslm: ", err)
        self.go_on(name, run, count)
        return err

    def test_a_killed_rank_ends_all_at_once_and_is_named(self):
        for which in (0, 1):
            with self.subTest(rank=which):
                self.assertIn(f"rank {which} was ended by signal 9", self.lose(signal.SIGKILL, which, 2, 15))

    def test_a_killed_rank_of_another_launcher_is_named_by_one_other(self):
        def check(which, count):
            err = self.lose_by_hand(signal.SIGKILL, which, count, 20)
            self.assertRegex(err, rf"rank {int(which == 0)}: in the .*: rank {which} ended without an error message")
        self.side_by_side(check, "long", (0, 2), (2, 4))

    def test_a_stopped_rank_ends_all_when_the_time_is_up_and_is_named(self):
        def check(lose, which, count):
            err = lose(signal.SIGSTOP, which, count, TIMEOUT_S + 20, "hung")
            self.assertIn(f"no answer from rank {which} within {TIMEOUT_S} s", err)
            self.assertRegex(err, r"rank \d: in the (sum|spread|agreement)")
        self.side_by_side(check, "hung", (self.lose, 0, 2), (self.lose, 3, 4), (self.lose_by_hand, 1, 2))

    def test_a_killed_or_stopped_rank_under_mpirun_ends_all_and_is_named(self):
        if reason := without_mpi():
            self.skipTest(reason)
        for number, phrase in ((signal.SIGKILL, "rank 1 with PID"), (signal.SIGSTOP, f"no answer from rank 1 within {TIMEOUT_S} s")):
            with self.subTest(phrase):
                run = self.fresh()
                with Process("train", self.config["hung"], "--run-dir", run, under=[*MPIRUN, "-np", "2"]) as launcher:
                    self.assertTrue(launcher.wait_until(lambda: checkpoints(run)))
                    ranks = children(launcher.pid)
                    os.kill(ranks[1], number)
                    since = time.monotonic()
                    done = launcher.wait()
                    self.assertLess(time.monotonic() - since, TIMEOUT_S + 20)
                    self.assertEqual(left_after(10, ranks), [])
                self.assertNotEqual(done.code, DONE)
                self.said_once(phrase, done.err)
                self.go_on("hung", run, 2)

    def test_no_rank_outlives_its_launcher(self):
        with self.training("endless", 2, self.fresh(), steps=0) as (launcher, ranks):
            launcher.send(signal.SIGKILL)
            launcher.wait()
            self.assertEqual(left_after(10, ranks), [])


if __name__ == "__main__":
    harness.main()
