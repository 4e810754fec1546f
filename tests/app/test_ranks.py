#!/usr/bin/env python3
"""Several ranks compute what one computes, bit for bit, and end together however one of them ends."""
import contextlib
import os
import shutil
import signal
import subprocess
import time
import unittest
from pathlib import Path

import harness
from harness import DONE, MACHINE, STOPPED, USER, AppTest, Process, checkpoints, read_metrics, saslm, steps_done

STEPS, LONG = 30, 150
TIMEOUT_S = 8  # where a rank hangs; a disk that others use may keep rank 0 busy with a checkpoint for a while
MPIRUN = ["mpirun", "--oversubscribe", *(["--allow-run-as-root"] if os.geteuid() == 0 else [])]
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


def history(run):
    times = ("step_ms", "tokens_per_s", "mfu")
    return [{key: value for key, value in event.items() if key not in times}
            for event in read_metrics(run) if event["event"] in ("step", "eval")]


def final_tensors(run):
    newest = checkpoints(run)[-1]
    return newest.name, *((newest / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors"))


def mpirun(*parts):
    """mpirun as a user calls it, each part being (ranks, arguments...)."""
    command = []
    for ranks, *arguments in parts:
        command += [":" if command else "mpirun", *(MPIRUN[1:] if not command else []), "-np", str(ranks),
                    os.environ["SASLM"], *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=harness.PATIENCE_S, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return harness.Result(done.returncode, done.stdout, done.stderr)


def children(pid):
    """In the order of their start."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    return False


def left_after(patience_s, pids):
    """Those still there when patience ends; they are ended then."""
    deadline = time.monotonic() + patience_s
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


def why_not():
    if not shutil.which("mpirun"):
        return "there is no mpirun"
    if "Open MPI" not in subprocess.run(["mpirun", "--version"], capture_output=True, text=True).stdout:
        return "mpirun is not Open MPI's"
    return None


class RanksTest(AppTest):
    config, reference = {}, {}  # by name: the file, and the run of one rank

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if reason := why_not():
            raise unittest.SkipTest(reason)
        for name in CONFIGS.keys() - cls.config.keys():
            cls.config[name] = cls.write_config(CONFIGS[name])
        probe = saslm("train", cls.config["mha"], "--run-dir", cls.fresh(), "--resume", "must",
                      env={"OMPI_COMM_WORLD_SIZE": "2"})
        if "has no MPI" in probe.err:
            raise unittest.SkipTest("this build of saslm has no MPI")

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

    @contextlib.contextmanager
    def training(self, name, count, run, steps=3):
        """(launcher, mpirun's process, the ranks') once some steps are done; none of them outlives the test."""
        with Process("train", self.config[name], "--ranks", count, "--run-dir", run) as launcher:
            started = lambda: harness.events(run, "start") and steps_done(run) >= steps
            self.assertTrue(launcher.wait_until(started), "it ended before its first steps")
            mpiruns = children(launcher.pid)
            ranks = children(mpiruns[0])
            try:
                self.assertEqual((len(mpiruns), len(ranks)), (1, count))
                yield launcher, mpiruns[0], ranks
            finally:
                left_after(0, [*mpiruns, *ranks])

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
        run = self.fresh()
        done = mpirun((2, "train", self.config["mha"], "--run-dir", run, "--json"))
        self.assertEqual(done.code, DONE, done.err)
        self.assertEqual(done.out.count('"finished":true'), 1)
        self.expect_same("mha", run)


class Stopped(RanksTest):
    def test_a_signal_saves_and_exits_75_and_the_run_goes_on_with_the_same_bits(self):
        for number, then in ((signal.SIGTERM, 2), (signal.SIGINT, 4), (signal.SIGUSR1, 1)):
            with self.subTest(signal=number):
                run = self.fresh()
                with self.training("long", 2, run) as (launcher, mpirun_, ranks):
                    launcher.send(number)
                    done = launcher.wait()
                    self.assertEqual(left_after(10, [mpirun_, *ranks]), [])
                self.assertEqual(done.code, STOPPED, done.err)
                self.said_once("stopped and saved", done.err)
                self.assertNotIn("-----", done.err)
                self.assertNotIn("mpirun", done.err)
                self.assertLess(steps_done(run), LONG)
                self.assertEqual(checkpoints(run)[-1].name, f"step_{steps_done(run):08}")
                self.go_on("long", run, then)

    def test_a_signal_before_the_ranks_listen_is_not_lost(self):
        for delay_s in (0, 0.1, 0.3):
            with self.subTest(delay_s=delay_s):
                with Process("train", self.config["long"], "--ranks", 2, "--run-dir", self.fresh()) as launcher:
                    self.assertTrue(launcher.wait_until(lambda: children(launcher.pid)))  # mpirun; before, as without ranks
                    time.sleep(delay_s)
                    launcher.send(signal.SIGTERM)
                    done = launcher.wait()
                self.assertEqual(done.code, STOPPED, done.err)

    def test_a_second_signal_ends_all_at_once(self):
        with self.training("endless", 2, self.fresh(), steps=0) as (launcher, mpirun_, ranks):
            for _ in range(2):
                time.sleep(0.2)
                self.assertTrue(launcher.running(), "the first signal waits for the end of the step")
                launcher.send(signal.SIGTERM)
            self.assertEqual(launcher.wait().code, -signal.SIGTERM)
            self.assertEqual(left_after(10, [mpirun_, *ranks]), [])


class Lost(RanksTest):
    def lose(self, number, which, count, patience_s, name="long"):
        """What a run says that a signal to one of its ranks ends; it then goes on to the right bits."""
        run = self.fresh()
        with self.training(name, count, run, steps=41) as (launcher, mpirun_, ranks):  # after a checkpoint
            os.kill(ranks[which], number)
            since = time.monotonic()
            done = launcher.wait()
            self.assertLess(time.monotonic() - since, patience_s)
            self.assertEqual(left_after(10, [mpirun_, *ranks]), [])
        self.assertEqual(done.code, MACHINE, done.err)
        self.assertNotIn("-----", done.err)
        self.assertEqual(saslm("inspect", checkpoints(run)[-1]).code, DONE)
        self.go_on(name, run, count)
        return done.err

    def test_a_killed_rank_ends_all_at_once_and_is_named(self):
        for which in (0, 1):
            with self.subTest(rank=which):
                self.said_once(f"rank {which} was ended by signal 9", self.lose(signal.SIGKILL, which, 2, 15))

    def test_a_stopped_rank_ends_all_when_the_time_is_up_and_is_named(self):
        for which, count in ((0, 2), (3, 4)):
            with self.subTest(rank=which, of=count):
                err = self.lose(signal.SIGSTOP, which, count, TIMEOUT_S + 15, "hung")
                self.said_once(f"no answer from rank {which} within {TIMEOUT_S} s", err)
                self.assertRegex(err, r"rank \d: in the (sum|spread|agreement)")
                self.said_once("saslm: rank", err)

    def test_no_rank_outlives_its_launcher(self):
        for victim in ("launcher", "mpirun"):
            with self.subTest(victim), self.training("endless", 2, self.fresh(), steps=0) as (launcher, mpirun_, ranks):
                os.kill(launcher.pid if victim == "launcher" else mpirun_, signal.SIGKILL)
                launcher.wait()
                self.assertEqual(left_after(10, [mpirun_, *ranks]), [])


class Refused(RanksTest):
    def refused(self, done, phrase, run):
        self.assertEqual(done.code, USER, done.err)
        self.said_once("saslm: ", done.err)
        self.said_once(phrase, done.err)
        self.assertFalse(run.exists(), "a refused start left a folder")

    def test_ranks_that_were_started_differently_and_the_difference_is_named(self):
        harness.write_shard(self.folder / "other.bin", harness.sample_tokens(6000, seed=3))
        run = self.fresh()
        first = (1, "train", self.config["mha"], "--run-dir", run)
        cases = {
            "optim.lr=0.001": "optim/lr is 0.003 on rank 0, 0.001 on rank 1",
            "data.train=other.bin": "fingerprint of data.train is",
            "data.train=none.bin": "rank 1: no file matches",
            "model.n_layer=1": "model/n_layer is 2 on rank 0, 1 on rank 1",
        }
        for change, phrase in cases.items():
            with self.subTest(change):
                self.refused(mpirun(first, (*first, "--set", change)), phrase, run)

    def test_what_no_rank_can_do_is_said_once(self):
        run = self.fresh()
        cases = {
            "no file matches": [2, "--set", "data.train=none.bin"],
            "did you mean steps": [2, "--set", "train.stepz=3"],
            "runtime.device is cuda": [2, "--device", "cuda"],
            "got 3": [3],
            "4 ranks": [4, "--set", "train.global_batch=6"],
            "8 ranks": [8],
            "--ranks": [0],
        }
        for phrase, (ranks, *rest) in cases.items():
            with self.subTest(phrase):
                done = saslm("train", self.config["mha"], "--run-dir", run, "--ranks", ranks, *rest)
                self.assertIn(phrase, done.err)
                self.assertNotIn("-----", done.err)
                self.refused(done, "saslm: ", run)

    def test_ranks_under_a_launcher_of_another_number(self):
        run = self.fresh()
        for started, said in ((2, 4), (1, 2)):
            with self.subTest(started=started):
                done = mpirun((started, "train", self.config["mha"], "--run-dir", run, "--ranks", said))
                self.refused(done, f"--ranks is {said}, but a launcher started {started}", run)

    def test_a_launchers_leftovers(self):
        run = self.fresh()
        for value, phrase in (("2", "speaks of 2 ranks, but MPI joined 1"), ("two", "OMPI_COMM_WORLD_SIZE")):
            with self.subTest(value):
                done = saslm("train", self.config["mha"], "--run-dir", run, env={"OMPI_COMM_WORLD_SIZE": value})
                self.assertIn(phrase, done.err)
                self.refused(done, "saslm: ", run)


if __name__ == "__main__":
    harness.main()
