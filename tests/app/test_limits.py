#!/usr/bin/env python3
"""How the program handles settings of a shell or batch system (ulimit, nohup, OMP_*).
"""
import contextlib
import os
import re
import resource
import signal
import subprocess
import threading
import time

import harness
from harness import DONE, MACHINE, STOPPED, USER, AppTest, Process, checkpoints, saslm, steps_done

KIB, MIB = 2**10, 2**20
CONFIG = harness.tiny_config("sas", train={"steps": 12}, checkpoint={"every_steps": 3, "keep_last": 2})
LONG = harness.merged(CONFIG, {"train": {"steps": 100000}, "eval": {"every_steps": 0}, "checkpoint": {"every_steps": 0}})


def limited(*args, env=None, start=None, **limits):
    """The program under limits: of each a number, or (soft, hard)."""
    def limit():
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), value if isinstance(value, tuple) else (value, value))
        if start:
            start()
    done = subprocess.run([os.environ["SASLM"], *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=harness.PATIENCE_S, env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}, preexec_fn=limit)
    return harness.Result(done.returncode, done.stdout, done.stderr)


class LimitsTest(AppTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.config, cls.long = cls.write_config(CONFIG), cls.write_config(LONG)

    def one_word(self, done, code, *phrases):
        self.assertEqual(done.code, code, done.err)
        self.assertEqual(done.err.count("saslm: "), 1, done.err)
        for phrase in phrases:
            self.assertIn(phrase, done.err)


class FileSize(LimitsTest):
    """ulimit -f"""

    def test_a_checkpoint_that_may_not_be_so_large_is_a_disk_that_is_full(self):
        reference = self.train(CONFIG)
        largest = max(path.stat().st_size for path in checkpoints(reference)[-1].iterdir())
        run = self.fresh()
        done = limited("train", self.config, "--run-dir", run, FSIZE=largest // 2)
        self.one_word(done, MACHINE, "File too large", f"the file size limit is {largest // 2} bytes", "ulimit -f")
        self.assertEqual(done.err.count("could not be saved"), 2, done.err)
        self.assertEqual([path.name for path in run.rglob("*.tmp*")] + [path.name for path in run.rglob(".tmp*")], [])
        self.run_ok("train", self.config, "--run-dir", run)
        self.assertEqual(harness.final_tensors(run), harness.final_tensors(reference))

    def test_no_command_is_killed_by_it(self):
        run = self.train(CONFIG)
        text = self.fresh("text")
        text.write_text("abc " * 20000)
        for command in (("train", self.config, "--run-dir", self.fresh()),
                        ("tokenize", "--input", text, "--tokenizer", "bytes", "--out", self.fresh()),
                        ("export", "--checkpoint", run, "--no-tokenizer", "--out", self.fresh()),
                        ("train", self.config, "--run-dir", self.fresh(), "--ranks", 2, "--set", "train.grad_accum=1")):
            with self.subTest(command[0]):
                self.one_word(limited(*command, FSIZE=200), MACHINE, "File too large", "the file size limit is 200 bytes")


class Stack(LimitsTest):
    """ulimit -s"""

    def test_too_little_is_said(self):
        for bytes in (48 * KIB, 64 * KIB, 512 * KIB):
            for command in (("train", self.config, "--run-dir", self.fresh()), ("schema",)):
                with self.subTest(bytes=bytes, command=command[0]):
                    self.one_word(limited(*command, STACK=bytes), USER, f"the stack limit is {bytes // KIB} KiB (ulimit -s)",
                                  "ulimit -s 8192")

    def test_a_soft_limit_is_raised(self):
        for env in {}, {"GOMP_SPINCOUNT": "100"}:
            for threads in "1", "2":
                done = limited("train", self.config, "--run-dir", self.fresh(), env={**env, "OMP_NUM_THREADS": threads},
                               STACK=(48 * KIB, 8 * MIB))
                self.assertEqual(done.code, DONE, done.err)

    def test_what_is_let_pass_is_enough(self):
        for kind in "sas", "tpa":
            config = harness.tiny_config(kind, train={"steps": 5}, model={"max_seq_len": 256})
            done = limited("train", self.write_config(config), "--run-dir", self.fresh(), STACK=MIB,
                           env={"OMP_NUM_THREADS": "2", "OMP_STACKSIZE": "1M"})
            self.assertEqual(done.code, DONE, done.err)

    def test_of_threads_too_little_is_said(self):
        for variable, text, kib in (("OMP_STACKSIZE", "16k", 16), ("OMP_STACKSIZE", "64", 64), ("GOMP_STACKSIZE", "100000 B", 97)):
            done = saslm("train", self.config, "--run-dir", self.fresh(), env={variable: text, "OMP_NUM_THREADS": "2"})
            self.one_word(done, USER, f"{variable}={text} gives each thread {kib} KiB of stack", "unset it")


class Threads(LimitsTest):
    """OMP_NUM_THREADS"""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        done = limited("train", cls.config, "--run-dir", cls.fresh(), env={"OMP_NUM_THREADS": ""})
        cls.cpus = int(re.search(r"cpu, fp32, (\d+) threads", done.err)[1])  # as many as a control group leaves

    def on(self, threads, said="OMP_NUM_THREADS", **env):
        own = ["--set", f"runtime.threads={threads}"] if said == "runtime.threads" else []
        start = time.monotonic()
        done = saslm("train", self.config, "--run-dir", self.fresh(), *own,
                     env={**env, **({} if own else {"OMP_NUM_THREADS": str(threads)})})
        self.assertEqual(done.code, DONE, done.err)
        return done.err, time.monotonic() - start

    def test_many_more_than_cpus_are_not_taken_and_that_is_said(self):
        cpus = self.cpus
        self.assertLessEqual(cpus, len(os.sched_getaffinity(0)))
        _, quick = self.on(cpus)
        for said in "OMP_NUM_THREADS", "runtime.threads":
            err, seconds = self.on(10 * cpus + 100, said)
            self.assertIn(f"warning: {said} is {10 * cpus + 100}, but this process may use {cpus} CPU", err)
            self.assertIn(f"{cpus} are used; results are the same", err)
            self.assertIn(f"cpu, fp32, {cpus} threads", err)
            self.assertLess(seconds, 10 * quick)

    def test_a_few_more_are_taken_with_a_warning_and_as_many_without(self):
        cpus = self.cpus
        self.assertNotIn("warning", self.on(cpus)[0])
        err, _ = self.on(cpus + 1)
        self.assertIn(f"OMP_NUM_THREADS is {cpus + 1}, but this process may use {cpus} CPU", err)
        self.assertIn(f"cpu, fp32, {cpus + 1} threads", err)

    def test_a_limit_on_threads_is_kept_and_named(self):
        err, _ = self.on("", OMP_THREAD_LIMIT="1")  # nothing was asked for
        self.assertNotIn("warning", err)
        self.assertIn("cpu, fp32, 1 threads", err)
        for said in "OMP_NUM_THREADS", "runtime.threads":
            err, _ = self.on(3, said, OMP_THREAD_LIMIT="1")
            reason = "OMP_THREAD_LIMIT allows 1" if self.cpus > 1 else "this process may use 1 CPU (affinity, control group)"
            self.assertIn(f"warning: {said} is 3, but {reason}: 1 are used; results are the same", err)
            self.assertIn("cpu, fp32, 1 threads", err)

    def test_the_cpus_that_a_process_is_placed_on_count(self):
        one = {min(os.sched_getaffinity(0))}
        done = limited("train", self.config, "--run-dir", self.fresh(), env={"OMP_NUM_THREADS": "50"},
                       start=lambda: os.sched_setaffinity(0, one))
        self.assertIn("OMP_NUM_THREADS is 50, but this process may use 1 CPU (", done.err)
        self.assertIn("cpu, fp32, 1 threads", done.err)


class Signals(LimitsTest):
    def stopped(self, run, done):
        self.assertEqual(done.code, STOPPED, done.err)
        self.assertIn("stopped and saved", done.err)
        self.assertEqual(checkpoints(run)[-1].name, f"step_{steps_done(run):08}")

    def test_a_terminal_that_is_closed_stops_and_saves(self):
        for ranks in (), ("--ranks", 2, "--set", "train.grad_accum=1"):
            run = self.fresh()
            with Process("train", self.long, "--run-dir", run, *ranks) as process:
                self.assertTrue(process.wait_until(lambda: steps_done(run) >= 3))
                process.send(signal.SIGHUP)
                self.stopped(run, process.wait())

    def test_under_nohup_it_does_not(self):
        for ranks in (), ("--ranks", 2, "--set", "train.grad_accum=1"):
            run = self.fresh()
            with Process("train", self.long, "--run-dir", run, *ranks, under=["nohup"]) as process:
                self.assertTrue(process.wait_until(lambda: steps_done(run) >= 3))
                process.send(signal.SIGHUP)
                before = steps_done(run)
                self.assertTrue(process.wait_until(lambda: steps_done(run) >= before + 20))
                process.send(signal.SIGTERM)
                self.stopped(run, process.wait())

    def test_time_that_is_up_stops_and_saves(self):
        run = self.fresh()
        self.stopped(run, limited("train", self.long, "--run-dir", run, CPU=(2, 60)))

    def test_ranks_write_to_a_terminal_that_stops_who_writes_from_the_background(self):
        control, terminal = harness.open_terminal()
        subprocess.run(["stty", "tostop"], stdin=terminal, check=True)
        run = self.fresh()
        process = subprocess.Popen(["setsid", "-c", os.environ["SASLM"], "train", self.config, "--ranks", "2", "--run-dir", run,
                                    "--set", "train.grad_accum=1"], stdin=terminal, stdout=terminal, stderr=terminal,
                                   env={**os.environ, "OMP_NUM_THREADS": "1"})
        os.close(terminal)
        patience = threading.Timer(harness.PATIENCE_S, process.kill)
        patience.start()
        seen = b""
        with contextlib.suppress(OSError):  # EIO once nobody has the terminal open
            while more := os.read(control, 10000):
                seen += more
        patience.cancel()
        self.assertEqual(process.wait(harness.PATIENCE_S), DONE, seen)
        self.assertIn(b"finished", seen)
        os.close(control)


class SameInstant(LimitsTest):
    def test_of_two_starts_in_one_folder_one_runs_and_one_is_told_by_whom(self):
        for number in range(25):
            run = self.fresh()
            with Process("train", self.long, "--run-dir", run) as one, Process("train", self.long, "--run-dir", run) as other, \
                    self.subTest(number=number):
                one.wait_until(lambda: not other.running())
                left, refused = (one, other) if one.running() else (other, one)
                done = refused.wait()
                self.assertEqual(done.code, USER, done.err)
                self.assertRegex(done.err, rf"is in use by process {left.pid} on host ")
                self.assertTrue(left.running())


class Surroundings(LimitsTest):
    def test_what_a_bare_environment_lacks_is_not_missed(self):
        for env in ({"HOME": "", "LC_ALL": "xx_YY.UTF-8", "LANG": "", "TERM": "", "TMPDIR": "/nowhere"}, None):
            run = self.fresh()
            everything = {name: "" for name in os.environ} if env is None else env
            done = limited("train", self.config, "--run-dir", run, env={**everything, "OMP_NUM_THREADS": "1"},
                           start=lambda: os.umask(0o077))
            self.assertEqual(done.code, DONE, done.err)
            modes = {path.stat().st_mode & 0o077 for path in [run, *run.rglob("*")]}
            self.assertEqual(modes, {0}, "umask was not heeded")

    def test_a_working_folder_that_is_gone_is_no_riddle(self):
        gone = self.fresh("gone")
        gone.mkdir()
        done = subprocess.run(["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", os.environ["SASLM"], "train", self.config],
                              cwd=gone, capture_output=True, text=True)
        self.assertIn(done.returncode, (MACHINE, USER), done.stderr)
        self.assertEqual(done.stderr.count("saslm: "), 1, done.stderr)
        self.assertRegex(done.stderr, "director|folder")


if __name__ == "__main__":
    harness.main()
