#!/usr/bin/env python3
"""A rank that waits for missing or silent ranks says for whom, where and why, and reacts to a signal."""
import os
import signal
import time

import harness
from harness import MACHINE, STOPPED, USER, AppTest, Process, checkpoints, saslm, steps_done
from ranks import MPIRUN, as_torchrun, by_hand, children, free_port, left_after, without_mpi

AT_ONCE_S = 5  # on a machine that does other things
TO_INTERRUPT = harness.tiny_config("mha", data={"val": ""}, eval={"every_steps": 0}, checkpoint={"every_steps": 40},
                                   train={"steps": 100000, "micro_batch": 2, "grad_accum": None, "global_batch": 8})
SRUN = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NODEID": "0", "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_LOCALID": "0", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_STEP_NODELIST": "localhost"}


class Waiting(AppTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.config = cls.write_config(TO_INTERRUPT)

    def said(self, process):
        process._err.flush()
        return os.pread(process._err.fileno(), 100000, 0).decode()

    def await_line(self, process, phrase, patience_s=AT_ONCE_S):
        deadline = time.monotonic() + patience_s
        while phrase not in self.said(process):
            self.assertTrue(process.running(), self.said(process))
            self.assertLess(time.monotonic(), deadline, self.said(process))
            time.sleep(0.01)

    def ends_at_once(self, process, number, code, patience_s=AT_ONCE_S):
        process.send(number)
        since = time.monotonic()
        done = process.wait()
        self.assertLess(time.monotonic() - since, patience_s)
        self.assertEqual(done.code, code, done.err)
        return done


class ForRanksThatDoNotCome(Waiting):
    def test_it_is_said_for_whom_where_and_why_and_the_first_signal_ends_it(self):
        for rank, number in ((0, signal.SIGTERM), (0, signal.SIGINT), (0, signal.SIGUSR1), (1, signal.SIGTERM), (1, signal.SIGINT)):
            with self.subTest(rank=rank, signal=number):
                run, port = self.fresh(), free_port()
                secret = {"SASLM_SECRET": "ab" * 16} if number == signal.SIGINT else {}
                with Process("train", self.config, "--run-dir", run, env=as_torchrun(rank, 2, port) | secret) as process:
                    self.await_line(process, "waiting for")
                    done = self.ends_at_once(process, number, STOPPED)
                whom = ("rank 1" if rank == 0 else f"rank 0 to answer at localhost:{port}" if secret
                        else f"rank 0 to write {run}/.ranks_secret, where it has no SASLM_SECRET")
                self.assertRegex(done.err, rf"rank {rank} is waiting for {whom} \(2 ranks, rank 0 at localhost:{port}\), for "
                                           r"\d s so far, for 600 s \(runtime.comm_timeout_s\) at most")
                self.assertIn(f"The number of ranks comes from RANK={rank}, WORLD_SIZE=2, MASTER_ADDR=localhost, MASTER_PORT={port} in the environment; "
                              "if that is left over, unset RANK WORLD_SIZE", done.err)
                self.assertIn("stopped by a signal while waiting for rank", done.err)
                self.assertIn("nothing was started", done.err)
                self.assertFalse(run.exists())

    def test_a_signal_to_rank_0_ends_those_who_have_come(self):
        port, run = free_port(), self.fresh()
        with by_hand([as_torchrun(rank, 4, port) for rank in (0, 2, 1)], self.config, "--run-dir", run) as ranks:
            self.await_line(ranks[0], "waiting for")
            self.await_line(ranks[1], "waiting for rank 0, which waits for the others")
            self.assertIn("for rank 3 (4 ranks", self.said(ranks[0]))
            self.ends_at_once(ranks[0], signal.SIGTERM, STOPPED)
            self.assertEqual([rank.wait().code for rank in ranks], [STOPPED] * 3)

    def test_a_rank_that_waits_for_rank_0_ends_by_itself(self):
        port, run = free_port(), self.fresh()
        with by_hand([as_torchrun(rank, 4, port) for rank in (0, 1)], self.config, "--run-dir", run) as ranks:
            self.await_line(ranks[1], "waiting for rank 0, which waits for the others")
            self.ends_at_once(ranks[1], signal.SIGTERM, STOPPED)

    def test_of_slurm_it_is_said_too(self):
        with Process("train", self.config, "--run-dir", self.fresh(), env=SRUN) as process:
            self.await_line(process, "unset SLURM_PROCID SLURM_STEP_NUM_TASKS")
            self.assertIn("The number of ranks comes from SLURM_PROCID=0, SLURM_STEP_NUM_TASKS=2, SLURM_STEP_NODELIST=localhost in", self.said(process))
            self.ends_at_once(process, signal.SIGTERM, STOPPED)

    def test_of_mpi_it_is_said_too(self):
        if reason := without_mpi():
            self.skipTest(reason)
        with Process("train", self.config, "--run-dir", self.fresh(),
                     under=[*MPIRUN, "-np", "1", "sleep", "60", ":", "-np", "1"]) as launcher:
            self.await_line(launcher, "unset OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE", 20)
            self.assertIn("rank 1 is waiting for the other ranks of 2 in MPI_Init_thread", self.said(launcher))
            since = time.monotonic()
            of_ours = lambda pid: "saslm" in os.path.basename(os.readlink(f"/proc/{pid}/exe"))
            os.kill(next(filter(of_ours, children(launcher.pid))), signal.SIGTERM)
            launcher.wait_until(lambda: "stopped by a signal" in self.said(launcher))
            self.assertLess(time.monotonic() - since, AT_ONCE_S)

    def test_ranks_beside_a_launchers_variables_are_refused_and_those_are_named(self):
        cases = [(as_torchrun(0, 2, 4000), 2, "RANK WORLD_SIZE"), (as_torchrun(0, 4, 4000), 2, "RANK WORLD_SIZE"),
                 (SRUN, 2, "SLURM_PROCID SLURM_STEP_NUM_TASKS"),
                 ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}, 4, "OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE"),
                 (SRUN | as_torchrun(0, 2, 4000), 2, "RANK SLURM_PROCID SLURM_STEP_NUM_TASKS WORLD_SIZE"),
                 ({"RANK": "0", "WORLD_SIZE": "2"}, 2, "RANK WORLD_SIZE")]
        for env, ranks, names in cases:
            with self.subTest(names=names, ranks=ranks):
                done = saslm("train", self.config, "--ranks", ranks, "--run-dir", self.fresh(), env=env)
                self.assertEqual(done.code, USER, done.err)
                self.assertIn(f"unset {names}", done.err)
                unset = {name: "" for name in names.split()}  # an empty variable is none
                with Process("train", self.config, "--ranks", ranks, "--run-dir", self.fresh(), env=env | unset) as started:
                    self.assertTrue(started.wait_until(lambda: len(children(started.pid)) == ranks), "that was not enough")


class ForRanksThatAreStopped(Waiting):
    def test_under_our_launcher_a_signal_lets_them_go_on_and_all_save(self):
        run = self.fresh()
        with Process("train", self.config, "--ranks", 2, "--run-dir", run) as launcher:
            self.assertTrue(launcher.wait_until(lambda: steps_done(run) >= 3))
            ranks = children(launcher.pid)
            os.kill(ranks[1], signal.SIGSTOP)
            self.await_line(launcher, "rank 1 was stopped by signal 19")
            self.assertIn(f"kill -CONT {ranks[1]}", self.said(launcher))
            done = self.ends_at_once(launcher, signal.SIGTERM, STOPPED, 20)
            self.assertIn("stopped and saved", done.err)
            self.assertEqual(left_after(5, ranks), [])
        self.assertEqual(checkpoints(run)[-1].name, f"step_{steps_done(run):08}")

    def test_under_our_launcher_also_one_that_has_not_joined(self):
        run = self.fresh()
        with Process("train", self.config, "--ranks", 2, "--run-dir", run) as launcher:
            self.assertTrue(launcher.wait_until(lambda: len(children(launcher.pid)) == 2))
            ranks = children(launcher.pid)
            os.kill(ranks[1], signal.SIGSTOP)
            self.await_line(launcher, "waiting for rank 1", 10)
            self.assertNotIn("unset", self.said(launcher))  # nobody has set anything
            self.ends_at_once(launcher, signal.SIGTERM, STOPPED)
            self.assertEqual(left_after(5, ranks), [])

    def test_elsewhere_a_signal_ends_the_wait_after_some_patience_and_they_are_named(self):
        run, port = self.fresh(), free_port()
        with by_hand([as_torchrun(rank, 2, port) for rank in (0, 1)], self.config, "--run-dir", run) as (first, second):
            self.assertTrue(first.wait_until(lambda: steps_done(run) >= 3))
            second.send(signal.SIGSTOP)
            time.sleep(0.5)
            first.send(signal.SIGTERM)
            self.await_line(first, "since a signal requested a stop; a second signal ends the run at once")
            done = first.wait()
        self.assertEqual(done.code, MACHINE, done.err)
        self.assertRegex(done.err, r"saslm: rank 0: in the .*: a signal requested a stop, but rank 1 did not answer for 1\d s")


if __name__ == "__main__":
    harness.main()
