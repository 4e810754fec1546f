#!/usr/bin/env python3
"""A disk that fails, fills up or answers by halves, and a run killed at every one of its operations on files: nothing
that was saved is lost, and the run, started again, ends as if nothing had happened.

The program is the one that users run; tests/faults/interpose.cpp stands between it and libc.
"""
import contextlib
import ctypes
import errno
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import harness
from harness import DONE, MACHINE, AppTest, Process, checkpoints, final_files, history, saslm

STEPS, SAVE_EVERY, KEPT = 8, 2, 3
INTERPOSED = os.environ.get("SASLM_INTERPOSED", "")  # the library
CONFIG = harness.tiny_config("mha", model={"n_layer": 1}, train={"steps": STEPS, "micro_batch": 2, "grad_accum": 1},
                             eval={"every_steps": 3, "max_sequences": 2},
                             checkpoint={"every_steps": SAVE_EVERY, "keep_last": KEPT})
COMMITTED = re.compile(r"rename /checkpoints/step_0*(\d+)")


class FaultTest(AppTest):
    reference = None

    @classmethod
    def setUpClass(cls):
        if not INTERPOSED:
            raise unittest.SkipTest("SASLM_INTERPOSED does not name the library that lets operations fail")
        if os.access("/dev/shm", os.W_OK):
            tempfile.tempdir = "/dev/shm"  # where a sync costs nothing
        super().setUpClass()
        if FaultTest.reference is None:
            FaultTest.config = cls.write_config(CONFIG)
            FaultTest.reference = cls.fresh("reference")
            FaultTest.writes = cls.operations("write", FaultTest.reference)
            FaultTest.appends = cls.operations("append", cls.fresh("appending"))
            run = cls.fresh("reading")
            shutil.copytree(FaultTest.reference, run)
            shutil.rmtree(checkpoints(run)[-1])
            FaultTest.reads = cls.operations("read", run)

    @classmethod
    def train(cls, run, of=None, at="", do="", log=""):
        """The run, with one of its operations on files going wrong."""
        return saslm("train", cls.config, "--run-dir", run, env=cls.faults(run, of, at, do, log) if of else None)

    @staticmethod
    def faults(run, of, at, do, log="", syncs=""):
        return {"LD_PRELOAD": INTERPOSED, "FAULTS_UNDER": str(run), "FAULTS_OF": of, "FAULTS_AT": str(at),
                "FAULTS_DO": str(do), "FAULTS_LOG": str(log), "FAULTS_SYNCS": syncs}

    @classmethod
    def operations(cls, of, run):
        log = cls.fresh("operations")
        done = cls.train(run, of, log=log)
        assert done.code == DONE, done.err
        return log.read_text().splitlines()

    def committed(self, before):
        """The step of the newest checkpoint that was complete, and durable, before that operation."""
        steps = [0]
        for at, operation in enumerate(self.writes[:before]):
            if (found := COMMITTED.match(operation)) and self.writes[at + 1] == "fsync /checkpoints" and at + 1 < before:
                steps.append(int(found[1]))
        return max(steps)

    def ends_like_the_reference(self, run, at_least=0):
        """Started again. `at_least`: the step it goes on from."""
        done = self.train(run)
        self.assertEqual(done.code, DONE, done.err)
        self.assertNotIn("warning", done.err.replace("warning: dropped 1 unreadable lines of metrics.jsonl", ""))  # torn
        self.assertGreaterEqual(harness.events(run, "start")[-1]["resumed_from_step"], at_least)
        self.assertEqual(history(run), history(self.reference))
        self.assertTrue(final_files(run) == final_files(self.reference), "the final state differs")
        self.assertEqual([path.name for path in run.glob("checkpoints/.tmp*")], [])
        shutil.rmtree(run)

    def ended_with_one_clear_word(self, done):
        self.assertEqual(done.code, MACHINE, done.err)
        self.assertEqual(done.err.count("saslm: "), 1, done.err)

    def each(self, operations, of, at, do, check):
        """Lets every operation go wrong, in a run of its own."""
        self.assertGreater(len(operations), 10)
        for number, operation in enumerate(operations):
            run = self.fresh()
            if of == "read":
                shutil.copytree(self.reference, run)
                shutil.rmtree(checkpoints(run)[-1])
            with self.subTest(operation=operation, number=number):
                check(number, run, self.train(run, of, at.format(number), do))


class Killed(FaultTest):
    def test_at_every_operation_that_writes(self):
        def check(number, run, done):
            self.assertEqual(done.code, -signal.SIGKILL, done.err)
            self.ends_like_the_reference(run, at_least=self.committed(number))

        self.each(self.writes, "write", "{}", "kill", check)

    def test_at_every_line_of_metrics(self):
        def check(number, run, done):
            self.assertEqual(done.code, -signal.SIGKILL, done.err)
            self.ends_like_the_reference(run)

        self.each(self.appends, "append", "{}", "kill", check)

    def test_at_any_time(self):
        kills, draw = int(os.environ.get("SASLM_KILLS", 500)), random.Random("kills")
        longest = self.duration()
        done = 0
        while done < kills:
            run = self.fresh()
            for _ in range(draw.randrange(1, 4)):  # several times in a row
                with Process("train", self.config, "--run-dir", run) as process:
                    time.sleep(draw.uniform(0, longest))
                    if process.running():
                        process.send(signal.SIGKILL)
                        done += process.wait().code == -signal.SIGKILL
            self.ends_like_the_reference(run)

    def duration(self):
        began = time.monotonic()
        self.train(self.fresh())
        return time.monotonic() - began


class Disk(FaultTest):
    def fails(self, number, run, done):
        if done.code != DONE:
            self.ended_with_one_clear_word(done)
        self.ends_like_the_reference(run, at_least=self.committed(number) if done.code != DONE else STEPS)

    def test_an_operation_that_fails(self):
        self.each(self.writes, "write", "{}", errno.EIO, self.fails)

    def test_a_disk_that_is_full_from_then_on(self):
        self.each(self.writes, "write", "{}+", errno.ENOSPC, self.fails)

    def test_a_line_of_metrics_that_cannot_be_written_is_written_with_the_next(self):
        def check(number, run, done):
            self.assertEqual(done.code, DONE, done.err)
            self.ends_like_the_reference(run, at_least=STEPS)

        self.each(self.appends, "append", "{}", errno.ENOSPC, check)

    def test_metrics_that_can_never_be_written_end_the_run(self):
        def check(number, run, done):
            self.ended_with_one_clear_word(done)
            self.assertIn("metrics.jsonl", done.err)
            self.ends_like_the_reference(run)

        self.each(self.appends, "append", "{}+", errno.ENOSPC, check)

    def test_writes_by_halves_change_nothing(self):
        def check(number, run, done):
            self.assertEqual(done.code, DONE, done.err)
            self.ends_like_the_reference(run, at_least=STEPS)

        self.each(self.writes, "write", "{}", "short", check)

    def test_a_read_that_fails(self):
        def check(number, run, done):
            if done.code != DONE:
                self.ended_with_one_clear_word(done)
            self.ends_like_the_reference(run)

        self.each(self.reads, "read", "{}", errno.EIO, check)

    def test_reads_by_halves_change_nothing(self):
        def check(number, run, done):
            self.assertEqual(done.code, DONE, done.err)
            self.assertNotIn("warning", done.err)
            self.ends_like_the_reference(run, at_least=STEPS)

        self.each(self.reads, "read", "{}", "short", check)


class PowerCut(FaultTest):
    """The run writes to a file system of its own, inside a file; what that file holds while the run stands still is what
    a power cut at that moment would leave on the disk."""
    MOMENTS = 40

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.image, cls.disk, cls.after = (cls.fresh(name) for name in ("image", "disk", "after"))
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(0x00020000) != 0:  # CLONE_NEWNS: nobody else sees the mounts
                raise OSError(ctypes.get_errno(), "unshare")
            subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)
            with cls.mounted(cls.new_image(), cls.disk):
                pass
        except (OSError, subprocess.CalledProcessError) as error:
            raise unittest.SkipTest(f"no file system can be made and mounted here: {error}")

    @classmethod
    def new_image(cls):
        cls.image.write_bytes(b"")
        os.truncate(cls.image, 24 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", cls.image], check=True, capture_output=True)
        return cls.image

    @staticmethod
    @contextlib.contextmanager
    def mounted(image, where):
        where.mkdir(exist_ok=True)
        subprocess.run(["mount", "-o", "loop", image, where], check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run(["umount", where], check=True, capture_output=True)

    def picture(self):
        """The disk as it is, once two looks at it see the same."""
        before = None
        while (now := self.image.read_bytes()) != before:
            before = now
        copy = self.fresh("picture")
        copy.write_bytes(now)
        return copy

    def pictures(self, moments, syncs=""):
        """One of each moment: before these of the run's operations."""
        with self.mounted(self.new_image(), self.disk):
            run, log = self.disk / "run", self.fresh("operations")
            log.touch()
            faults = self.faults(run, "write", ",".join(map(str, moments)), "stop", log, syncs)
            with Process("train", self.config, "--run-dir", run, env=faults) as process:
                for moment in moments:
                    there = lambda: log.read_text().count("\n") == moment + 1 and self.stands_still(process.pid)
                    self.assertTrue(process.wait_until(there), "it ended before")
                    yield moment, self.picture()
                    process.send(signal.SIGCONT)

    @staticmethod
    def stands_still(pid):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(") ")[2][0] == "T"
        return False

    def test_at_many_moments_of_a_run_the_newest_checkpoint_that_was_saved_is_intact(self):
        last = len(self.writes) - 1
        moments = sorted({at * last // (self.MOMENTS - 1) for at in range(self.MOMENTS)})
        for moment, picture in self.pictures(moments):
            with self.subTest(before=self.writes[moment], number=moment), self.mounted(picture, self.after):
                self.ends_like_the_reference(self.after / "run", at_least=self.committed(moment))
            picture.unlink()

    def test_without_syncs_it_would_not_be(self):
        moment = len(self.writes) - 1
        (_, picture), = self.pictures([moment], syncs="lies")
        with self.mounted(picture, self.after):
            saved = [path.name for path in checkpoints(self.after / "run")
                     if saslm("inspect", path).code == DONE]
        self.assertLess(self.committed(moment), STEPS + 1)
        self.assertNotIn(f"step_{self.committed(moment):08}", saved)


if __name__ == "__main__":
    harness.main()
