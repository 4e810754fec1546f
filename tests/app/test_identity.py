#!/usr/bin/env python3
"""A run's identity: its tokenizer and the weights that it started from. (Its record and its ends: test_records.py.)"""
import json
import shutil
from pathlib import Path

import harness
from harness import DONE, USER, AppTest, checkpoints, events, saslm, tiny_config

FIXTURES = Path(__file__).resolve().parent.parent / "data" / "fixtures"
TEXT = "".join(f"The miller counted {n} sacks of flour, and the river counted none.\n" for n in range(150))


class Identity(AppTest):
    """Texts, two tokenizers of one size that give other ids, and the shards of either."""

    words = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if Identity.words:
            return
        words = json.loads((FIXTURES / "base.json").read_text())
        one, other = list(words["model"]["vocab"])[-2:]
        vocab = words["model"]["vocab"]
        Identity.words = (FIXTURES / "base.json").read_bytes()
        vocab[one], vocab[other] = vocab[other], vocab[one]
        Identity.other_words = json.dumps(words).encode()
        Identity.text = cls.folder / "text.txt"
        cls.text.write_text(TEXT)
        Identity.other_tokenizer = cls.folder / "other.json"
        cls.other_tokenizer.write_bytes(cls.other_words)
        Identity.other_tokens = cls.tokenize(cls.other_tokenizer)
        Identity.bytes_tokens = cls.tokenize("bytes")

    @classmethod
    def tokenize(cls, tokenizer):
        tokens = cls.fresh("tokens")
        done = saslm("tokenize", "--input", cls.text, "--tokenizer", tokenizer, "--out", tokens)
        assert done.code == DONE, done.err
        return tokens / "tokens_*.bin"

    def tokenizer_and_tokens(self):
        """A tokenizer file that a test may change, and the tokens it made."""
        path = self.fresh("words").with_suffix(".json")
        path.write_bytes(self.words)
        return path, self.tokenize(path)

    @staticmethod
    def config_of(tokens, **patch):
        return harness.merged(tiny_config(model={"vocab_size": 639}, data={"train": str(tokens), "val": str(tokens)},
                                          train={"steps": 6}, eval={"every_steps": 0},
                                          checkpoint={"every_steps": 3}), patch)

    def refused(self, phrases, *args):
        done = saslm(*args)
        self.assertEqual(done.code, USER, f"{args}\n{done.out}{done.err}")
        for phrase in phrases:
            self.assertIn(str(phrase), done.err)


class Tokenizers(Identity):
    def whole(self, run, tokens):
        """What a run gives that depends on its tokenizer."""
        out = self.fresh("exported")
        self.run_ok("export", "--checkpoint", run, "--out", out)
        generated = self.run_json("generate", "--checkpoint", run, "--prompt", "The miller", "--tokens", 20)["text"]
        return generated, self.run_json("eval", "--checkpoint", run, "--data", tokens), \
            (out / "tokenizer.json").read_bytes()

    def test_what_becomes_of_the_file_after_training_changes_nothing(self):
        path, tokens = self.tokenizer_and_tokens()
        run = self.train(self.config_of(tokens))
        before = self.whole(run, tokens)
        self.assertEqual(before[2], self.words)
        self.assertGreater(before[1]["bits_per_byte"], 0)
        path.write_bytes(self.other_words)
        self.assertEqual(self.whole(run, tokens), before)
        path.unlink()
        self.assertEqual(self.whole(run, tokens), before)
        moved = self.fresh("moved")
        shutil.move(run, moved)
        self.assertEqual(self.whole(moved, tokens)[0], before[0])

    def test_each_checkpoint_has_the_tokenizer_and_says_which(self):
        path, tokens = self.tokenizer_and_tokens()
        run = self.train(self.config_of(tokens))
        self.assertEqual(len(checkpoints(run)), 2)
        for checkpoint in checkpoints(run):
            self.assertEqual((checkpoint / "tokenizer.json").read_bytes(), self.words)
            found = self.run_json("inspect", checkpoint)
            self.assertIn("tokenizer.json", [file["name"] for file in found["files"]])
            self.assertEqual(found["state"]["tokenizer"]["name"], str(path.resolve()))
        start = events(run, "start")[0]
        self.assertEqual(start["tokenizer_fingerprint"], found["state"]["tokenizer"]["fingerprint"])

    def test_a_damaged_copy_is_damage(self):
        _, tokens = self.tokenizer_and_tokens()
        run = self.train(self.config_of(tokens))
        copy = checkpoints(run)[-1] / "tokenizer.json"
        copy.write_bytes(copy.read_bytes().replace(b"ByteLevel", b"ByteLeveL", 1))
        done = saslm("inspect", run, "--json")
        self.assertEqual(done.code, USER)
        self.assertIn("tokenizer.json is damaged", json.loads(done.out)["checkpoints"][-1]["problem"])
        told = self.run_ok("generate", "--checkpoint", run, "--tokens", 5)
        self.assertIn("skipped checkpoint", told.err)
        self.refused([copy], "generate", "--checkpoint", copy.parent, "--tokens", 5)

    def test_two_files_of_one_tokenizer_go_along(self):
        folder = self.fresh("pair")
        folder.mkdir()
        for name in ("encoder.json", "vocab.bpe"):
            shutil.copy(FIXTURES / name, folder)
        tokens = self.tokenize(folder)
        run = self.train(self.config_of(tokens))
        before = self.run_ok("generate", "--checkpoint", run, "--prompt", "The", "--tokens", 9).out
        shutil.rmtree(folder)
        self.assertEqual(self.run_ok("generate", "--checkpoint", run, "--prompt", "The", "--tokens", 9).out, before)
        for name in ("encoder.json", "vocab.bpe"):
            self.assertEqual((checkpoints(run)[-1] / name).read_bytes(), (FIXTURES / name).read_bytes())

    def test_a_file_replaced_between_tokenizing_and_training_is_refused(self):
        path, tokens = self.tokenizer_and_tokens()
        path.write_bytes(self.other_words)
        for named in (None, str(path)):
            config = self.write_config(self.config_of(tokens, data={"tokenizer": named}))
            with self.subTest(named=named):
                run = self.fresh()
                self.refused([path.resolve(), "two tokenizers", "put back"], "train", config, "--run-dir", run)
                self.assertEqual(checkpoints(run), [])
                self.refused([path.resolve(), "two tokenizers"], "plan", config)

    def test_a_run_goes_on_with_its_own(self):
        path, tokens = self.tokenizer_and_tokens()
        config = self.write_config(self.config_of(tokens))
        run = self.train(self.config_of(tokens))
        shutil.rmtree(checkpoints(run)[-1])
        path.write_bytes(self.other_words)
        self.run_ok("train", config, "--run-dir", run)
        self.assertEqual((checkpoints(run)[-1] / "tokenizer.json").read_bytes(), self.words)
        named = self.write_config(self.config_of(tokens, data={"tokenizer": str(path)}))
        self.refused(["data.tokenizer", "two tokenizers"], "train", named, "--run-dir", run)
        self.run_ok("verify", run, "--from", 0)

    def test_a_tokenizer_that_is_gone_before_training_is_told(self):
        path, tokens = self.tokenizer_and_tokens()
        path.rename(path.with_suffix(".moved"))
        config = self.config_of(tokens)
        run = self.fresh()
        told = self.run_ok("train", self.write_config(config), "--run-dir", run)
        self.assertIn("carries no copy of its tokenizer", told.err)
        generate = ["generate", "--checkpoint", run, "--tokens", 3]
        self.refused([path.resolve(), "--tokenizer"], *generate)
        path.write_bytes(self.other_words)  # another one of that name
        self.refused(["two tokenizers"], *generate)
        self.refused(["two tokenizers"], *generate, "--tokenizer", self.other_tokenizer)
        self.run_ok(*generate, "--tokenizer", path.with_suffix(".moved"))
        config["data"]["tokenizer"] = str(self.fresh("none"))
        self.refused([config["data"]["tokenizer"]], "train", self.write_config(config), "--run-dir", self.fresh())

    def test_two_that_meet_are_compared(self):
        path, tokens = self.tokenizer_and_tokens()
        run = self.train(self.config_of(tokens))
        two = ["two tokenizers", path.resolve(), self.other_tokenizer.resolve()]
        self.refused(two, "eval", "--checkpoint", run, "--data", self.other_tokens)
        self.refused(two, "generate", "--checkpoint", run, "--tokenizer", self.other_tokenizer)
        self.refused(two, "export", "--checkpoint", run, "--out", self.fresh(), "--tokenizer", self.other_tokenizer)
        other = self.write_config(self.config_of(self.other_tokens))
        self.refused(two, "train", other, "--run-dir", self.fresh(), "--init-from", run)
        mixed = self.write_config(self.config_of(tokens, data={"val": str(self.other_tokens)}))
        for command in (["train", mixed, "--run-dir", self.fresh()], ["plan", mixed]):
            self.refused(two + ["data.val", "data.train"], *command)
        compared = {"base": str(mixed), "variants": [{"name": "a"}, {"name": "b", "set": {"model.n_layer": 1}}],
                    "seeds": [1], "baseline": "a", "budget": "tokens"}
        self.refused(two, "compare", self.write_config(compared), "--run-dir", self.fresh())
        same = path.with_name(path.name + ".copy")
        shutil.copy(path, same)
        self.run_ok("generate", "--checkpoint", run, "--tokenizer", same, "--tokens", 3)

    def test_what_cannot_be_compared_is_said(self):
        _, tokens = self.tokenizer_and_tokens()
        run = self.train(self.config_of(tokens))
        told = self.run_ok("eval", "--checkpoint", run, "--data", self.folder / "val.bin")
        self.assertIn("could not be compared", told.err)
        bare = self.train(tiny_config(train={"steps": 5}))
        silent = self.run_ok("eval", "--checkpoint", bare, "--data", self.folder / "val.bin")
        self.assertNotIn("compared", silent.err)  # nothing is known of either

    def test_bytes_need_no_file(self):
        run = self.train(self.config_of(self.bytes_tokens))
        self.assertNotIn("tokenizer.json", [path.name for path in checkpoints(run)[-1].iterdir()])
        self.run_ok("generate", "--checkpoint", run, "--tokens", 3)
        self.refused(["two tokenizers", "bytes"], "generate", "--checkpoint", run, "--tokenizer", self.other_tokenizer)


class Origins(Identity):
    CONFIG = tiny_config(train={"steps": 6}, eval={"every_steps": 0}, checkpoint={"every_steps": 3})

    def origin_of(self, run):
        states = [self.run_json("inspect", checkpoint)["state"]["origin"] for checkpoint in checkpoints(run)]
        starts = [event["origin"] for event in events(run, "start")]
        self.assertEqual(len({json.dumps(origin, sort_keys=True) for origin in states + starts}), 1, states + starts)
        self.assertEqual(self.run_json("inspect", run)["origin"], states[0])
        return states[0]

    def test_a_fresh_run_says_that_it_is(self):
        run = self.train(self.CONFIG)
        start = events(run, "start")[0]
        self.assertIsNone(start["resumed_from_step"])
        self.assertEqual(self.origin_of(run), {"kind": "seed"})
        self.run_ok("train", self.write_config(harness.merged(self.CONFIG, {"train": {"steps": 9}})), "--run-dir", run)
        self.assertEqual(events(run, "start")[1]["resumed_from_step"], 6)
        self.assertEqual(self.origin_of(run), {"kind": "seed"})

    def test_weights_from_elsewhere_are_on_record_and_replayed(self):
        first = self.train(self.CONFIG)
        for given in (first, checkpoints(first)[-1]):  # a run directory is its newest checkpoint
            with self.subTest(given.name):
                run = self.train(self.CONFIG, "--init-from", given)
                origin = self.origin_of(run)
                self.assertEqual((origin["kind"], origin["taken"]), ("init_from", "weights"))
                self.assertEqual(origin["path"], str(checkpoints(first)[-1].resolve()))
                self.assertEqual(origin["state_hash"], events(first, "checkpoint")[-1]["state_hash"])
                self.assertIsNone(events(run, "start")[0]["resumed_from_step"])
                self.run_ok("verify", run, "--from", 0)
                # The same command goes on, another is told that its weights are not taken.
                longer = self.write_config(harness.merged(self.CONFIG, {"train": {"steps": 9}}))
                self.assertNotIn("not taken", self.run_ok("train", longer, "--run-dir", run, "--init-from", given).err)
                told = self.run_ok("train", longer, "--run-dir", run, "--init-from", checkpoints(first)[0])
                self.assertIn("not taken", told.err)
                self.assertEqual(self.origin_of(run), origin)

    def test_of_bare_weights_their_checksum_is_on_record(self):
        folder = self.fresh("bare")
        folder.mkdir()
        for name in ("model.safetensors", "config.json"):
            shutil.copy(checkpoints(self.train(self.CONFIG))[-1] / name, folder)
        run = self.train(self.CONFIG, "--init-from", folder)
        origin = self.origin_of(run)
        self.assertEqual(set(origin), {"kind", "path", "weights_xxh3", "taken"})
        self.run_ok("verify", run, "--from", 0)

    def test_weights_that_are_gone_or_others_now_are_told_exactly(self):
        first, second = self.train(self.CONFIG), self.train(self.CONFIG, "--set", "train.seed=2")
        run = self.train(self.CONFIG, "--init-from", checkpoints(first)[-1])
        moved = self.fresh("moved")
        shutil.move(first, moved)
        for phrase in ("no model any more", "--init-from", str(checkpoints(moved)[-1].name)):
            self.refused([phrase], "verify", run, "--from", 0)
        self.run_ok("verify", run, "--from", 0, "--init-from", moved)
        self.refused(["another model", "checksum"], "verify", run, "--from", 0, "--init-from", second)
        self.refused(["drawn by its seed"], "verify", second, "--from", 0, "--init-from", moved)
        self.run_ok("verify", run)

    def test_all_ranks_begin_with_the_same(self):
        first = self.train(self.CONFIG)
        run = self.train(harness.merged(self.CONFIG, {"train": {"grad_accum": None, "global_batch": 8}}),
                         "--ranks", 2, "--init-from", first)
        alone = self.train(self.CONFIG, "--init-from", first)
        self.assertEqual(harness.final_tensors(run), harness.final_tensors(alone))
        self.assertEqual(self.origin_of(run), self.origin_of(alone))


class PlanData(Identity):
    def planned(self, phrases, config, *args):
        path = self.write_config(config)
        self.refused(phrases + [path, "--no-data"], "plan", path, *args)
        self.run_ok("plan", path, "--no-data", *args)

    def test_data_that_is_missing_is_refused_by_its_pattern(self):
        for key in ("train", "val"):
            self.planned([f"none_{key}_*.bin"], tiny_config(data={key: f"none_{key}_*.bin"}))

    def test_a_vocabulary_too_small_for_shards_or_tokenizer_is_refused(self):
        self.planned(["vocabulary 0 .. 49", "model.vocab_size"], tiny_config(model={"vocab_size": 50}))
        self.planned(["639", "638"], self.config_of(self.other_tokens, model={"vocab_size": 638}))
        path = self.write_config(self.config_of(self.other_tokens, model={"vocab_size": 638}))
        self.refused(["639", "638"], "train", path, "--run-dir", self.fresh())

    def test_data_too_short_is_refused(self):
        harness.write_shard(self.folder / "short.bin", [1] * 20)
        self.planned(["short"], tiny_config(data={"val": "short.bin"}))

    def test_a_tokenizer_is_part_of_a_checkpoint_s_size(self):
        with_it = self.run_json("plan", path := self.write_config(self.config_of(self.other_tokens)))
        without = self.run_json("plan", path, "--no-data")
        self.assertEqual(with_it["checkpoint_bytes"] - without["checkpoint_bytes"], len(self.other_words))

    def test_the_plan_is_shown_all_the_same(self):
        done = saslm("plan", self.write_config(tiny_config(data={"train": "none"})))
        self.assertIn("parameters", done.out)


if __name__ == "__main__":
    harness.main()
