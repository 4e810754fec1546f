#!/usr/bin/env python3
"""Several ranks give results bit-identical to one rank's, stop together, and meet in spite of strangers."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import harness
from harness import DONE, MACHINE, STOPPED, USER, Process, checkpoints, history, steps_done
from ranks import LONG, STEPS, RanksTest, as_srun, as_torchrun, by_hand, children, free_port, left_after, mpirun, without_mpi

SBATCH = Path(__file__).resolve().parents[2] / "scripts" / "slurm" / "train.sbatch"


class SameBits(RanksTest):
    def test_one_two_and_four_ranks_learn_the_same_bits(self):
        for name, ranks in (("sas", 2), ("sas", 4), ("mha", 2), ("mha", 4), ("moh", 2)):
            with self.subTest(name=name, ranks=ranks):
                run = self.fresh()
                self.assertNotIn("warning", self.go_on(name, run, ranks).err)
                self.assertEqual(harness.events(run, "start")[0]["ranks"], ranks)

    def test_a_run_that_learns_nothing_would_prove_nothing(self):
        for name in ("sas", "mha", "moh"):
            losses = [event["loss"] for event in history(self.one_rank(name)) if event["event"] == "step"]
            self.assertEqual(len(set(losses)), STEPS)
            self.assertLess(losses[-1], losses[0] - 0.2)
        self.assertIn("aux_loss", history(self.one_rank("moh"))[1])

    def test_a_run_goes_on_with_the_same_bits_on_other_ranks(self):
        run = self.fresh()
        shutil.copytree(self.one_rank("sas"), run)
        for ranks, kept in ((4, 0), (2, 1), (1, 2), (4, 1)):  # from nothing, step 10, step 20, step 10
            for path in checkpoints(run)[kept:]:
                shutil.rmtree(path)
            if kept == 0:
                (run / "metrics.jsonl").unlink()
            self.assertNotIn("changed", self.go_on("sas", run, ranks).err)

    def test_a_users_own_mpirun_needs_no_ranks(self):
        if reason := without_mpi():
            self.skipTest(reason)
        for name, ranks in (("mha", 2), ("sas", 4)):
            with self.subTest(name=name, ranks=ranks):
                run = self.fresh()
                done = mpirun((ranks, os.environ["SASLM"], "train", self.config[name], "--run-dir", run, "--json"))
                self.assertEqual(done.code, DONE, done.err)
                self.assertEqual(done.out.count('"finished":true'), 1)
                self.expect_same(name, run)

    def test_nor_do_other_launchers_in_whatever_order_they_start_the_ranks(self):
        for name, launcher, order in (("mha", as_torchrun, (0, 1)), ("sas", as_torchrun, (3, 1, 0, 2)),
                                      ("sas", as_srun, (1, 0))):
            with self.subTest(name=name, launcher=launcher.__name__, order=order):
                run, port = self.fresh(), free_port()
                environments = [launcher(rank, len(order), port) for rank in order]
                with by_hand(environments, self.config[name], "--run-dir", run) as ranks:
                    for rank in ranks:
                        done = rank.wait()
                        self.assertEqual(done.code, DONE, done.err)
                self.expect_same(name, run)


class Stopped(RanksTest):
    def test_a_signal_saves_and_exits_75_and_the_run_goes_on_with_the_same_bits(self):
        for number, then in ((signal.SIGTERM, 2), (signal.SIGINT, 4), (signal.SIGUSR1, 1)):
            with self.subTest(signal=number):
                run = self.fresh()
                with self.training("long", 2, run) as (launcher, ranks):
                    launcher.send(number)
                    done = launcher.wait()
                    self.assertEqual(left_after(10, ranks), [])
                self.assertEqual(done.code, STOPPED, done.err)
                self.said_once("stopped and saved", done.err)
                self.assertLess(steps_done(run), LONG)
                self.assertEqual(checkpoints(run)[-1].name, f"step_{steps_done(run):08}")
                self.go_on("long", run, then)

    def test_a_signal_to_one_rank_of_another_launcher_stops_all(self):
        run, port = self.fresh(), free_port()
        with by_hand([as_torchrun(r, 2, port) for r in (0, 1)], self.config["long"], "--run-dir", run) as ranks:
            self.await_steps(ranks[0], run, 3)
            ranks[1].send(signal.SIGUSR1)
            self.assertEqual([rank.wait().code for rank in ranks], [STOPPED, DONE])
        self.go_on("long", run, 2)

    def test_a_signal_before_the_ranks_listen_is_not_lost(self):
        for delay_s in (0, 0.02, 0.1):
            with self.subTest(delay_s=delay_s):
                with Process("train", self.config["long"], "--ranks", 2, "--run-dir", self.fresh()) as launcher:
                    self.assertTrue(launcher.wait_until(lambda: children(launcher.pid)))  # before, as without ranks
                    time.sleep(delay_s)
                    launcher.send(signal.SIGTERM)
                    done = launcher.wait()
                self.assertEqual(done.code, STOPPED, done.err)

    def test_a_second_signal_ends_all_at_once(self):
        with self.training("endless", 2, self.fresh(), steps=0) as (launcher, ranks):
            for _ in range(2):
                time.sleep(0.2)
                self.assertTrue(launcher.running(), "the first signal waits for the end of the step")
                launcher.send(signal.SIGTERM)
            done = launcher.wait()
            self.assertEqual(done.code, -signal.SIGTERM)
            self.assertNotIn("saslm: ", done.err)
            self.assertEqual(left_after(10, ranks), [])

    def test_the_slurm_example_goes_back_to_the_queue_when_stopped_and_only_then(self):
        stands_in = self.fresh("slurm")
        stands_in.mkdir()
        queue = stands_in / "requeued"
        for name, does in (("srun", 'echo "$@" >&2; exit $SRUN_EXITS'), ("scontrol", f'echo "$@" >> {queue}')):
            (stands_in / name).write_text(f"#!/bin/sh\n{does}\n")
            (stands_in / name).chmod(0o755)
        for code in (DONE, STOPPED, MACHINE, USER):
            with self.subTest(code):
                env = {**os.environ, "SASLM": "build/saslm", "PATH": f"{stands_in}:{os.environ['PATH']}", "SLURM_JOB_ID": "7",
                       "SLURM_CPUS_PER_TASK": "3", "SRUN_EXITS": str(code)}
                done = subprocess.run(["bash", SBATCH, "a.json", "runs/a b"], capture_output=True, text=True, env=env)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn("--cpus-per-task=3 build/saslm train a.json --run-dir runs/a b", done.stderr)
        self.assertEqual(queue.read_text(), "requeue 7\n")


class Joining(RanksTest):
    def killed(self, environments, run):
        """What rank 0 says when rank 1 is killed while it waits for others."""
        with by_hand(environments, self.config["mha"], "--run-dir", run) as (first, second):
            time.sleep(0.5)
            second.send(signal.SIGKILL)
            since = time.monotonic()
            done = first.wait()
            self.assertLess(time.monotonic() - since, 15)
        self.assertEqual(done.code, MACHINE, done.err)
        self.assertFalse(run.exists())
        return done.err

    def test_a_rank_that_is_killed_while_others_are_still_to_come_is_named_at_once(self):
        port = free_port()
        err = self.killed([as_torchrun(rank, 4, port) for rank in (0, 1)], self.fresh())
        self.said_once("saslm: rank 0: rank 1 of 4 ended while the ranks were joining: killed, crashed, or its machine or network "
                       "is gone\n", err)


class Strangers(RanksTest):
    def test_whoever_else_connects_changes_nothing(self):
        run, port = self.fresh(), free_port()
        with by_hand([as_torchrun(0, 2, port)], self.config["mha"], "--run-dir", run) as (first,), \
                contextlib.ExitStack() as stack:
            for number in range(100):
                stranger = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                if number % 3 == 0:
                    stranger.sendall(os.urandom(1 + 50 * number))
                elif number % 3 == 1:
                    stranger.close()
            with by_hand([as_torchrun(1, 2, port)], self.config["mha"], "--run-dir", run) as (second,):
                self.assertEqual((second.wait().code, first.wait().code), (DONE, DONE))
        self.expect_same("mha", run)


if __name__ == "__main__":
    harness.main()
