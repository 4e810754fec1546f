#!/usr/bin/env python3
"""Ranks that cannot run together, or not on this machine, are refused before anything starts."""
import contextlib
import os
import re
import resource
import shutil
import socket
import subprocess

import harness
from harness import MACHINE, USER, saslm
from ranks import RanksTest, as_torchrun, by_hand, config_of, free_port, mpirun, without_mpi


class Refused(RanksTest):
    def refused(self, done, phrase, run, code=USER):
        self.assertEqual(done.code, code, done.err)
        self.said_once("saslm: ", done.err)
        self.said_once(phrase, done.err)
        self.assertFalse(run.exists(), "a refused start left a folder")

    def test_ranks_that_were_started_differently_and_the_difference_is_named(self):
        harness.write_shard(self.folder / "other.bin", harness.sample_tokens(6000, seed=3))
        run = self.fresh()
        cases = {
            "optim.lr=0.001": "optim.lr is 0.003 on rank 0, 0.001 on rank 1",
            "data.train=other.bin": "fingerprint of data.train is",
            "data.train=none.bin": "rank 1: no file matches",
            "model.n_layer=1": "model.n_layer is 2 on rank 0, 1 on rank 1",
            "runtime.matmul=timed": "runtime.matmul is \"ranked\" on rank 0, \"timed\" on rank 1",
        }
        with contextlib.ExitStack() as stack:  # side by side: whoever holds its tongue takes its time
            started = {}
            for change in cases:
                port = free_port()
                started[change] = stack.enter_context(by_hand([as_torchrun(r, 2, port) for r in (0, 1)],
                                                              self.config["mha"], "--run-dir", run,
                                                              more=("--set", change)))
            for change, phrase in cases.items():
                with self.subTest(change):
                    ends = [rank.wait() for rank in started[change]]
                    self.assertEqual(sorted(end.code for end in ends), [MACHINE, USER])
                    self.refused(harness.Result(USER, "", "".join(end.err for end in ends)), phrase, run)

    def test_ranks_of_another_build(self):
        other = self.folder / "other_build"
        shutil.copy(os.environ["SASLM"], other)
        with open(other, "ab") as program:
            program.write(b"\0")
        run, port = self.fresh(), free_port()
        with by_hand([as_torchrun(0, 2, port)], self.config["mha"], "--run-dir", run) as (first,):
            second = subprocess.Popen([other, "train", self.config["mha"], "--run-dir", run],
                                      env={**os.environ, **as_torchrun(1, 2, port)})
            self.refused(first.wait(), "build is", run)
            second.kill()
            second.wait()

    def test_what_no_rank_can_do_is_said_once(self):
        run = self.fresh()
        cases = {
            "no file matches": ["--ranks", 2, "--set", "data.train=none.bin"],
            "did you mean steps": ["--ranks", 2, "--set", "train.stepz=3"],
            "runtime.device is cuda": ["--ranks", 2, "--device", "cuda"],
            "got 3": ["--ranks", 3],
            "4 ranks": ["--ranks", 4, "--set", "train.global_batch=6"],
            "8 ranks": ["--ranks", 8],
            "wanted an integer from 1": ["--ranks", 0],
            "runtime.device is cuda, but ": ["--gpus", 2],
            "excludes": ["--gpus", 2, "--ranks", 2],
            "--device cpu": ["--gpus", 2, "--device", "cpu"],
        }
        for phrase, arguments in cases.items():
            with self.subTest(phrase):
                done = saslm("train", self.config["mha"], "--run-dir", run, *arguments)
                self.refused(done, phrase, run)

    def test_ranks_under_a_launcher_of_another_number(self):
        run = self.fresh()
        done = saslm("train", self.config["mha"], "--run-dir", run, "--ranks", 4, env=as_torchrun(0, 2, 4000))
        self.refused(done, "--ranks is 4, but a launcher started 2", run)
        self.assertIn("unset RANK WORLD_SIZE", done.err)
        if not without_mpi():
            done = mpirun((1, os.environ["SASLM"], "train", self.config["mha"], "--run-dir", run, "--ranks", 2))
            self.refused(done, "--ranks is 2, but a launcher started 1", run)

    def test_a_launchers_leftovers(self):
        run = self.fresh()
        cases = [({"RANK": "0", "WORLD_SIZE": "two"}, "WORLD_SIZE should be"),
                 ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR should be")]
        if not without_mpi():
            cases.append(({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}, "but MPI joined 1"))
        for env, phrase in cases:
            with self.subTest(phrase):
                self.refused(saslm("train", self.config["mha"], "--run-dir", run, env=env), phrase, run)

    def test_ranks_that_do_not_come(self):
        run, limit = self.fresh(), ("--set", "runtime.comm_timeout_s=1")
        for rank, phrase in ((0, "rank 1 of 2 did not connect to"), (1, "rank 0 wrote no ")):
            with self.subTest(rank=rank):
                done = saslm("train", self.config["mha"], "--run-dir", run, *limit, env=as_torchrun(rank, 2, free_port()))
                self.refused(done, phrase, run, MACHINE)
        if not without_mpi():
            done = mpirun((1, os.environ["SASLM"], "train", self.config["mha"], "--run-dir", run, *limit), (1, "sleep", 20))
            self.refused(done, "MPI_Init_thread did not end within 1 s", run, MACHINE)

    def test_a_port_that_is_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port, run = other.getsockname()[1], self.fresh()
            done = saslm("train", self.config["mha"], "--run-dir", run, env=as_torchrun(0, 2, port))
            self.refused(done, f"cannot listen at port {port}", run)


class Memory(RanksTest):
    """Without data: what a plan does not refuse ends for want of it, and no test takes a machine's memory."""
    NO_DATA = ("--set", "data.train=none.bin")
    REFUSED = re.compile(r"each of 2 ranks on this machine needs (\d+) bytes, there are (\d+) for each; .*"
                         "fewer ranks on this machine leave more for each")

    def config_of_batches(self, micro_batch):
        return self.write_config(config_of("mha", model={"max_seq_len": 512}, checkpoint={"background": False},
                                           train={"micro_batch": micro_batch, "global_batch": 2 * micro_batch}))

    def needing(self, wanted):
        """A config with which one rank, or each of two, needs about this many bytes."""
        needed = self.run_json("plan", self.config_of_batches(100))["arena_bytes"]
        return self.config_of_batches(round(100 * wanted / needed))

    def machine_has(self):
        done = saslm("plan", self.config_of_batches(1 << 20))
        self.assertEqual(done.code, USER)
        return int(re.search(r"it needs \d+ bytes, there are (\d+);", done.err)[1])

    def test_ranks_on_one_machine_divide_its_memory(self):
        there_are = self.machine_has()
        large, run = self.needing(0.7 * there_are), self.fresh()
        self.run_ok("plan", large)
        for command in ("plan", large), ("train", large, "--run-dir", run, *self.NO_DATA):
            with self.subTest(command[0]):
                done = saslm(*command, "--ranks", 2)
                self.assertEqual(done.code, USER, done.err)
                self.said_once("saslm: ", done.err)
                needs, gets = map(int, self.REFUSED.search(done.err).groups())
                self.assertGreater(needs, gets)
                self.assertLess(gets, 0.6 * there_are)
                self.assertFalse(run.exists())

    def test_ranks_on_two_machines_do_not(self):
        large, port = self.needing(0.7 * self.machine_has()), free_port()
        alone = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        with by_hand([as_torchrun(rank, 2, port) | alone for rank in (0, 1)], large, "--run-dir", self.fresh(),
                     *self.NO_DATA) as ranks:
            for rank in ranks:
                self.assertIn("no file matches", rank.wait().err)

    def test_a_limit_of_each_ranks_own_is_not_divided(self):
        limit = 7 << 28
        done = subprocess.run([os.environ["SASLM"], "train", self.needing(1 << 30), "--run-dir", self.fresh(), *self.NO_DATA,
                               "--ranks", "2"], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        self.assertIn("no file matches", done.stderr)


if __name__ == "__main__":
    harness.main()
