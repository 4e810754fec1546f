#!/usr/bin/env python3
"""A tokenizer is identified by content: wherever its file is, however its path is spelled, and if records are old or
incomplete."""
import ctypes
import json
import shutil
import unittest

import harness
from harness import checkpoints, saslm, tiny_config
from test_identity import FIXTURES, Identity
from test_import import numbers, tiny_llama

try:
    xxhash = ctypes.CDLL("libxxhash.so.0")
    xxhash.XXH3_64bits.argtypes, xxhash.XXH3_64bits.restype = [ctypes.c_char_p, ctypes.c_size_t], ctypes.c_uint64
except OSError as error:
    xxhash = None
    NO_XXHASH = f"needs libxxhash.so.0, to make checkpoints as they once were: {error}"


def xxh3(data):
    return f"{xxhash.XXH3_64bits(data, len(data)):016x}"


def make_old(checkpoint, tokenizer):
    """Makes an old checkpoint without a tokenizer copy: only the config names it."""
    state = json.loads((checkpoint / "state.json").read_text())
    del state["tokenizer"], state["origin"]
    config = json.loads((checkpoint / "config.json").read_text())
    config["data"]["tokenizer"] = tokenizer
    for name, content in (("state.json", state), ("config.json", config)):
        (checkpoint / name).write_text(json.dumps(content, indent=2))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    for carried in manifest["files"][4:]:
        (checkpoint / carried["name"]).unlink()
    manifest["files"], manifest["format"] = manifest["files"][:4], 1
    for entry in manifest["files"][2:]:
        data = (checkpoint / entry["name"]).read_bytes()
        entry.update(size=len(data), xxh3=xxh3(data))
    del manifest["xxh3"]
    manifest["xxh3"] = xxh3(json.dumps(manifest, separators=(",", ":"), sort_keys=True).encode())
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


@unittest.skipIf(xxhash is None, "" if xxhash else NO_XXHASH)
class OldRuns(Identity):
    """Runs from before checkpoints carried their tokenizer, whose configs spell its path in some way of their own."""

    def old_run(self):
        path, tokens = self.tokenizer_and_tokens()
        run = self.train(self.config_of(tokens))
        for checkpoint in checkpoints(run):
            make_old(checkpoint, f"{path.parent}/../{path.parent.name}/./{path.name}")
        return path, tokens, run

    def test_its_own_data_and_files_are_taken(self):
        path, tokens, run = self.old_run()
        self.assertGreater(self.run_json("eval", "--checkpoint", run, "--data", tokens)["bits_per_byte"], 0)
        told = self.run_ok("generate", "--checkpoint", run, "--prompt", "The", "--tokens", 3)
        self.assertIn("by its name alone", told.err)
        copy = path.with_suffix(".copy.json")
        shutil.copy(path, copy)
        self.run_ok("generate", "--checkpoint", run, "--tokenizer", copy, "--tokens", 3)
        self.run_ok("train", self.write_config(self.config_of(tokens)), "--run-dir", self.fresh(), "--init-from", run)

    def test_others_are_refused(self):
        path, tokens, run = self.old_run()
        self.refused(["two tokenizers"], "eval", "--checkpoint", run, "--data", self.other_tokens)
        self.refused(["two tokenizers"], "generate", "--checkpoint", run, "--tokenizer", self.other_tokenizer)
        other = self.write_config(self.config_of(self.other_tokens))
        self.refused(["two tokenizers"], "train", other, "--run-dir", self.fresh(), "--init-from", run)
        path.unlink()  # nothing is known then
        told = self.run_ok("eval", "--checkpoint", run, "--data", self.other_tokens)
        self.assertIn("could not be compared", told.err)

    def test_such_a_run_goes_on_and_carries_it_from_then_on(self):
        _, tokens, run = self.old_run()
        config = self.write_config(self.config_of(tokens, train={"steps": 9}))
        self.run_ok("train", config, "--run-dir", run)
        self.assertEqual((checkpoints(run)[-1] / "tokenizer.json").read_bytes(), self.words)


class Moved(Identity):
    """Files that are elsewhere when a run goes on."""

    def go_on(self, config, run):
        told = self.run_ok("train", self.write_config(config), "--run-dir", run)
        self.assertEqual((checkpoints(run)[-1] / "tokenizer.json").read_bytes(), self.words)
        return told

    def test_a_file_that_the_config_names_and_that_is_gone_since(self):
        path, tokens = self.tokenizer_and_tokens()
        own = self.fresh("own").with_suffix(".json")
        shutil.copy(path, own)
        run = self.train(self.config_of(tokens, data={"tokenizer": str(own)}))
        own.rename(own.with_suffix(".moved"))
        self.go_on(self.config_of(tokens, train={"steps": 9}, data={"tokenizer": str(own)}), run)
        moved = self.config_of(tokens, train={"steps": 12}, data={"tokenizer": str(own.with_suffix(".moved"))})
        self.go_on(moved, run)
        path.unlink()
        self.go_on(harness.merged(moved, {"train": {"steps": 15}}), run)

    def test_a_file_that_was_gone_and_is_back(self):
        path, tokens = self.tokenizer_and_tokens()
        path.rename(path.with_suffix(".moved"))
        run = self.train(self.config_of(tokens))
        self.assertFalse((checkpoints(run)[-1] / "tokenizer.json").exists())
        path.with_suffix(".moved").rename(path)
        self.go_on(self.config_of(tokens, train={"steps": 9}), run)
        path.unlink()
        self.run_ok("generate", "--checkpoint", run, "--prompt", "The", "--tokens", 3)


class Held(Identity):
    """Tokens that a tokenizer does not have, in shards that say nothing of theirs."""

    def test_plan_refuses_them_as_train_does(self):
        strange = self.folder / "strange.bin"
        harness.write_shard(strange, [*self.sample(), 600])
        for key in ("train", "val"):
            config = {"train": str(self.plain()), "val": str(self.plain()), "tokenizer": "bytes", key: str(strange)}
            path = self.write_config(tiny_config(model={"vocab_size": 639}, data=config))
            phrases = ["the token 600", "bytes lacks", "0 .. 255"]
            with self.subTest(key):
                self.refused(phrases, "plan", path)
                self.refused(phrases, "train", path, "--run-dir", self.fresh())
                self.run_ok("plan", path, "--no-data")

    @staticmethod
    def sample():
        return harness.sample_tokens(900, seed=3)

    def plain(self):
        path = self.folder / "plain.bin"
        harness.write_shard(path, self.sample())
        return path


class Imported(Identity):
    def imported(self, *files):
        config, tensors = tiny_llama()
        config["vocab_size"] = 639
        tensors["model.embed_tokens.weight"] = tensors["lm_head.weight"] = numbers(639, 8)
        folder, out = self.fresh("hub"), self.fresh("imported")
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "model.safetensors").write_bytes(harness.safetensors_bytes(tensors))
        for name, content in files:
            (folder / name).write_bytes(content)
        self.run_ok("import", "--from", folder, "--out", out)
        return out

    def generate(self, folder, *args):
        return ["generate", "--checkpoint", folder, "--prompt", "The", "--tokens", 3, "--seed", 1, *args]

    def test_its_tokenizer_is_on_record_and_goes_where_it_goes(self):
        path, tokens = self.tokenizer_and_tokens()
        out = self.imported(("tokenizer.json", self.words))
        of_data = json.loads((tokens.parent / "tokens.json").read_text())["tokenizer_fingerprint"]
        self.assertEqual(json.loads((out / "config.json").read_text())["data"]["tokenizer_fingerprint"], of_data)
        before = self.run_ok(*self.generate(out))
        self.assertNotIn("name alone", before.err)
        self.run_ok("eval", "--checkpoint", out, "--data", tokens)
        self.refused(["two tokenizers"], "eval", "--checkpoint", out, "--data", self.other_tokens)
        moved = self.fresh("moved")
        out.rename(moved)
        self.assertEqual(self.run_ok(*self.generate(moved)).out, before.out)
        self.assertGreater(self.run_json("eval", "--checkpoint", moved, "--data", tokens)["bits_per_byte"], 0)
        self.refused(["two tokenizers"], *self.generate(moved, "--tokenizer", self.other_tokenizer))
        (moved / "tokenizer.json").write_bytes(self.other_words)
        self.refused(["two tokenizers", "put back"], *self.generate(moved))
        self.refused(["two tokenizers"], "export", "--checkpoint", moved, "--out", self.fresh())
        self.assertEqual(self.run_ok(*self.generate(moved, "--tokenizer", path)).out, before.out)

    def test_two_files_of_one_tokenizer_go_too(self):
        out = self.imported(*((name, (FIXTURES / of).read_bytes())
                              for name, of in (("vocab.json", "encoder.json"), ("merges.txt", "vocab.bpe"))))
        before = self.run_ok(*self.generate(out)).out
        moved = self.fresh("moved")
        out.rename(moved)
        self.assertEqual(self.run_ok(*self.generate(moved)).out, before)
        with (moved / "merges.txt").open("a") as file:
            file.write("Ġ Ġ\n")
        done = saslm(*self.generate(moved))
        self.assertNotEqual(done.code, harness.DONE, done.out)


if __name__ == "__main__":
    harness.main()
