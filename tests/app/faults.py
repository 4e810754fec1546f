"""Shared by the tests of faults: a tiny run, the library between the program and libc (tests/faults/interpose.cpp), and
the state in which every run must end.
"""
import contextlib
import ctypes
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import harness
from harness import DONE, MACHINE, AppTest, checkpoints, final_files, history, saslm

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
        """The run, with one failing file operation."""
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
        """The step of the newest checkpoint that was complete and durable before that operation."""
        steps = [0]
        for at, operation in enumerate(self.writes[:before]):
            if (found := COMMITTED.match(operation)) and self.writes[at + 1] == "fsync /checkpoints" and at + 1 < before:
                steps.append(int(found[1]))
        return max(steps)

    def ends_like_the_reference(self, run, at_least=0):
        """Starts the run again. `at_least`: the step from which it must resume."""
        done = self.train(run)
        self.assertEqual(done.code, DONE, done.err)
        self.assertNotIn("warning", done.err.replace("warning: dropped 1 unreadable lines of metrics.jsonl", ""))  # torn
        self.assertGreaterEqual(harness.events(run, "start")[-1]["resumed_from_step"] or 0, at_least)  # null: anew
        self.assertEqual(history(run), history(self.reference))
        self.assertTrue(final_files(run) == final_files(self.reference), "the final state differs")
        self.assertEqual([path.name for path in run.glob("checkpoints/.tmp*")], [])
        shutil.rmtree(run)

    def ended_with_one_clear_word(self, done):
        self.assertEqual(done.code, MACHINE, done.err)
        self.assertEqual(done.err.count("saslm: "), 1, done.err)

    def each(self, operations, of, at, do, check):
        """Makes every operation fail, each in its own run."""
        self.assertGreater(len(operations), 10)
        for number, operation in enumerate(operations):
            run = self.fresh()
            if of == "read":
                shutil.copytree(self.reference, run)
                shutil.rmtree(checkpoints(run)[-1])
            with self.subTest(operation=operation, number=number):
                check(number, run, self.train(run, of, at.format(number), do))


@contextlib.contextmanager
def skipped_where_nothing_can_be_mounted():
    """Mounts from here on are invisible to other processes."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(0x00020000) != 0:  # CLONE_NEWNS
            raise OSError(ctypes.get_errno(), "unshare")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)
        yield
    except (OSError, subprocess.CalledProcessError) as error:
        raise unittest.SkipTest(f"no file system can be made and mounted here: {error}")
