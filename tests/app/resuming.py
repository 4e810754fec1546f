"""Shared by the tests of resuming: small runs that are never interrupted, which others must equal."""
import shutil

import harness
from harness import DONE, AppTest, Process, checkpoints, final_files, history, saslm

STEPS, EVAL_EVERY, SAVE_EVERY = 60, 7, 5


def config_of(kind, **patch):
    """Steps long enough (milliseconds) for a kill to land inside one."""
    base = harness.tiny_config(kind, train={"steps": STEPS, "micro_batch": 8, "grad_accum": 2},
                               eval={"every_steps": EVAL_EVERY},
                               checkpoint={"every_steps": SAVE_EVERY})
    return harness.merged(base, patch)


def endless_config():
    """Its first step outlasts any test."""
    return config_of("mha", train={"micro_batch": 1, "grad_accum": 1048576}, data={"val": ""})


class ResumeTest(AppTest):
    config, reference = {}, {}  # by kind: the file, and the run that was never interrupted

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for kind in {"sas", "mha"} - cls.reference.keys():
            cls.config[kind] = cls.write_config(config_of(kind))
            cls.reference[kind] = cls.fresh(f"{kind}_reference")
            done = cls.train_on(kind, cls.reference[kind])
            assert done.code == DONE, done.err

    @classmethod
    def train_on(cls, kind, run, *args, **kwargs):
        return saslm("train", cls.config[kind], "--run-dir", run, *args, **kwargs)

    def background(self, kind, run, *args, **kwargs):
        return Process("train", self.config[kind], "--run-dir", run, *args, **kwargs)

    def expect_same_as_reference(self, kind, run):
        self.assertEqual(checkpoints(run)[-1].name, f"step_{STEPS:08}")
        self.assertTrue(final_files(run) == final_files(self.reference[kind]), "the final state differs")
        self.assertEqual(history(run), history(self.reference[kind]))

    def finish(self, kind, run, *args, **kwargs):
        done = self.train_on(kind, run, "--resume", "auto", *args, **kwargs)
        self.assertEqual(done.code, DONE, done.err)
        self.expect_same_as_reference(kind, run)
        return done

    def interrupted_copy(self, kind):
        """A copy of a finished run, without its newest checkpoint."""
        run = self.fresh()
        shutil.copytree(self.reference[kind], run)
        return run
