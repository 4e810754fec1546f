#!/usr/bin/env python3
"""Several ranks compute bit-identical results to one, and end together however one of them ends."""
import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
from harness import (DONE, MACHINE, MPIRUN, STOPPED, USER, AppTest, Process, as_torchrun, by_hand, checkpoints, children,
                     final_tensors, free_port, history, left_after, mpirun, saslm, steps_done, without_mpi)

STEPS, LONG = 30, 150
TIMEOUT_S = 8  # where a rank hangs; a disk that others use may keep rank 0 busy with a checkpoint for a while
SBATCH = Path(__file__).resolve().parents[2] / "scripts" / "slurm" / "train.sbatch"
MOH = {"kind": "moh", "n_head": 4, "head_dim": 8, "moh": {"n_shared_head": 1, "top_k": 2, "balance_weight": 0.01}}


def config_of(kind, **patch):
    """Four micro-batches a step, 4, 2 or 1 on a rank; 7 sequences of evaluation, which no number of ranks divides."""
    base = harness.tiny_config(kind, train={"steps": STEPS, "micro_batch": 2, "grad_accum": None, "global_batch": 8},
                               eval={"every_steps": 10, "max_sequences": 7}, checkpoint={"every_steps": 10})
    return harness.merged(base, patch)


TO_INTERRUPT = {"train": {"steps": LONG, "micro_batch": 16, "global_batch": 64}, "eval": {"every_steps": 0},
                "checkpoint": {"every_steps": 40}}  # steps of some 10 ms
CONFIGS = {
    "mha": config_of("mha"),
    "sas": config_of("sas"),
    "moh": config_of("mha", model={"attention": MOH}),
    "long": config_of("mha", **TO_INTERRUPT),
    "hung": config_of("mha", **TO_INTERRUPT, runtime={"comm_timeout_s": TIMEOUT_S}),
    # Its first step outlasts any test.
    "endless": config_of("mha", train={"micro_batch": 1, "global_batch": 1 << 20}, data={"val": ""}),
}


def as_srun(rank, size, port):
    return {"SLURM_JOB_ID": str(port), "SLURM_STEP_ID": "0", "SLURM_PROCID": str(rank), "SLURM_NODEID": "0",
            "SLURM_STEP_NUM_TASKS": str(size), "SLURM_LOCALID": str(rank), "SLURM_STEP_TASKS_PER_NODE": str(size),
            "SLURM_STEP_NODELIST": "localhost"}


class RanksTest(AppTest):
    config, reference = {}, {}  # by name: the file, and the run of one rank

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in CONFIGS.keys() - cls.config.keys():
            cls.config[name] = cls.write_config(CONFIGS[name])

    def one_rank(self, name):
        if name not in self.reference:
            run = self.fresh(f"{name}_reference")
            self.run_ok("train", self.config[name], "--run-dir", run)
            self.reference[name] = run
        return self.reference[name]

    def expect_same(self, name, run):
        self.assertEqual(history(run), history(self.one_rank(name)))
        self.assertTrue(final_tensors(run) == final_tensors(self.one_rank(name)), "weights or moments differ")

    def go_on(self, name, run, ranks):
        done = self.run_ok("train", self.config[name], "--run-dir", run, "--ranks", ranks)
        self.expect_same(name, run)
        return done

    def await_steps(self, process, run, steps):
        started = lambda: harness.events(run, "start") and steps_done(run) >= steps
        self.assertTrue(process.wait_until(started), "it ended before its first steps")

    @contextlib.contextmanager
    def training(self, name, count, run, steps=3):
        """(launcher, the ranks' processes) once some steps are done; none of them outlives the test."""
        with Process("train", self.config[name], "--ranks", count, "--run-dir", run) as launcher:
            self.await_steps(launcher, run, steps)
            ranks = children(launcher.pid)
            try:
                self.assertEqual(len(ranks), count)
                yield launcher, ranks
            finally:
                left_after(0, ranks)

    def side_by_side(self, check, name, *cases):
        """Cases that mostly wait."""
        self.one_rank(name)  # which they share
        with ThreadPoolExecutor(len(cases)) as pool:
            for case in [pool.submit(check, *case) for case in cases]:
                case.result()

    def said_once(self, phrase, err):
        self.assertEqual(err.count(phrase), 1, err)


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
