"""Shared by the tests of bad input: the program refuses it, says why, and starts nothing."""
import shutil

import harness
from harness import USER, AppTest, merged, sample_tokens, saslm

SOON_S = 10
VOCAB = 256  # so that `generate --tokenizer bytes` gets as far as the weights
TOKENS = sample_tokens(500, seed=4)
CRASHES = ("terminate called", "what():", "Segmentation", "core dumped", "Traceback", "Sanitizer", "internal error",
           "json.exception", "CLI::", "std::", "basic_string", "vector::")


def tiny_config(kind="mha", **patch):
    return merged(harness.tiny_config(kind, model={"vocab_size": VOCAB}), patch)


class Refusals(AppTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.config = cls.write_config(tiny_config("mha"), "config.json")
        harness.write_shard(cls.folder / "large.bin", TOKENS[:77] + [VOCAB] + TOKENS)
        (cls.folder / "empty.txt").write_text("")
        cls.checkpoint, small = cls.trained(VOCAB), cls.trained(64)
        tokens = cls.fresh("tokens")
        assert saslm("tokenize", "--input", cls.config, "--format", "text", "--out", tokens).code == 0
        cls.places = {"config": cls.config, "folder": cls.folder, "model": cls.checkpoint, "small": small,
                      "tokens": tokens}

    @classmethod
    def trained(cls, vocab):
        run = cls.fresh()
        done = saslm("train", cls.config, "--run-dir", run, "--set", "train.steps=5",
                     "--set", f"model.vocab_size={vocab}")
        assert done.code == 0, done.err
        return harness.checkpoints(run)[-1]

    def refused(self, phrases, *args, run=None, stdout=""):
        """Runs the program; checks that it refused, said why, and began nothing in `run`."""
        done = saslm(*args, patience_s=SOON_S)
        self.assertEqual(done.code, USER, done.err)
        self.assertEqual(done.out, stdout)
        for phrase in phrases:
            self.assertIn(phrase, done.err)
        for crash in CRASHES:
            self.assertNotIn(crash, done.err)
        self.assertLess(len(done.err), 3000, "a message, not the whole input")
        if run and run.is_dir():
            self.assertEqual(harness.checkpoints(run), [])
            self.assertEqual(harness.read_metrics(run), [])

    def train_refused(self, phrases, config, *args):
        run = self.fresh()
        self.refused(phrases, "train", config, "--run-dir", run, *args, run=run)

    def weights_folder(self):
        folder = self.fresh("weights")
        folder.mkdir()
        for name in ("model.safetensors", "config.json"):
            shutil.copy(self.checkpoint / name, folder)
        return folder
