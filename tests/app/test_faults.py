#!/usr/bin/env python3
"""A disk that fails, fills up or does partial writes, and a run that is killed at every file operation: nothing saved
is lost, and the restarted run ends as if nothing had happened.

The program is the one that users run; tests/faults/interpose.cpp stands between it and libc.
"""
import contextlib
import errno
import os
import random
import shutil
import signal
import subprocess
import time

import faults
import harness
from faults import STEPS, FaultTest
from harness import DONE, Process, checkpoints, saslm


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


class Skipped(FaultTest):
    def test_a_checkpoint_that_was_skipped_is_not_found_again_when_it_can_be_read(self):
        run = self.fresh()
        shutil.copytree(self.reference, run)
        newest = checkpoints(run)[-1]
        whole = (newest / "state.json").read_bytes()
        (newest / "state.json").write_bytes(b"{}")
        done = self.train(run, "append", 1, "kill")  # after the start's line, before the first step's
        self.assertEqual(done.code, -signal.SIGKILL)
        self.assertIn("skipped checkpoint", done.err)
        left, = (path for path in run.glob("checkpoints/*/state.json") if path.read_bytes() == b"{}")
        left.write_bytes(whole)
        self.ends_like_the_reference(run)


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
        with faults.skipped_where_nothing_can_be_mounted():
            with cls.mounted(cls.new_image(), cls.disk):
                pass

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
