#!/usr/bin/env python3
"""A run is what it says it is: its tokenizer, the weights that it began with, its record and its ends."""
import json
import shutil
from pathlib import Path

import harness
from harness import DONE, USER, AppTest, checkpoints, events, read_metrics, saslm, tiny_config

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
        """A tokenizer's file that a test may do with as it likes, and what it made."""
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


class Records(Identity):
    CONFIG = tiny_config(train={"steps": 20}, checkpoint={"every_steps": 5, "keep_last": 9})

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.config = cls.write_config(cls.CONFIG)
        cls.reference = cls.fresh()
        done = saslm("train", cls.config, "--run-dir", cls.reference)
        assert done.code == DONE, done.err

    def copy_of(self, keep):
        """The run, with those of its events."""
        run = self.fresh()
        shutil.copytree(self.reference, run)
        lines = [json.dumps(event) + "\n" for event in read_metrics(run) if keep(event)]
        (run / "metrics.jsonl").write_text("".join(lines))
        return run

    def problem(self, run):
        done = saslm("inspect", run, "--json")
        problem = json.loads(done.out)["problem"]
        self.assertEqual(done.code, USER if problem else DONE)
        return problem

    def test_steps_without_a_record_are_told_and_marked(self):
        self.assertIsNone(self.problem(self.reference))
        run = self.copy_of(lambda event: event.get("step", 0) < 12)
        self.assertIn("no record of the steps 12 to 19", self.problem(run))
        told = self.run_ok("train", self.config, "--run-dir", run)
        self.assertIn("no record of the steps 12 to 19", told.err)
        marks = events(run, "missing_steps")
        self.assertEqual([(mark["first"], mark["last"]) for mark in marks], [(12, 19)])
        self.assertIn("12 to 19", self.problem(run))
        self.assertNotIn("no record", self.run_ok("train", self.config, "--run-dir", run).err)  # once
        self.assertEqual(events(run, "missing_steps"), marks)
        # From an earlier checkpoint on, the steps are made again, and the mark is no longer true.
        for path in checkpoints(run)[1:]:
            shutil.rmtree(path)
        self.run_ok("train", self.config, "--run-dir", run)
        self.assertEqual(events(run, "missing_steps"), [])
        self.assertEqual(harness.history(run)[-1], harness.history(self.reference)[-1])
        self.assertIsNone(self.problem(run))

    def test_a_hole_between_others_and_a_record_that_is_gone(self):
        run = self.copy_of(lambda event: event["event"] != "step" or event["step"] not in (3, 4, 9))
        self.assertIn("steps 3 to 4, 9", self.problem(run))
        (run / "metrics.jsonl").unlink()
        self.assertIn("is missing, with the steps 0 to 19", self.problem(run))
        self.assertIn("0 to 19", self.run_ok("train", self.config, "--run-dir", run).err)

    def test_a_record_that_is_newer_is_cut_and_steps_twice_are_told(self):
        run = self.copy_of(lambda event: True)
        for path in checkpoints(run)[2:]:
            shutil.rmtree(path)
        self.assertIsNone(self.problem(run))  # as after a kill
        self.assertNotIn("warning", self.run_ok("train", self.config, "--run-dir", run).err)
        self.assertEqual(harness.history(run), harness.history(self.reference))
        with open(run / "metrics.jsonl", "a") as file:
            file.write(json.dumps(events(run, "step")[7]) + "\n")
        self.assertIn("1 steps on record twice", self.problem(run))
        self.assertIn("on record twice", self.run_ok("train", self.config, "--run-dir", run).err)

    def test_the_record_of_another_run_is_told(self):
        other = self.fresh()
        self.run_ok("train", self.config, "--run-dir", other, "--set", "train.seed=3")
        run = self.copy_of(lambda event: True)
        shutil.copy(other / "metrics.jsonl", run)
        self.assertIn("of two runs", self.problem(run))
        self.assertIn("of two runs", self.run_ok("train", self.config, "--run-dir", run).err)
        self.assertEqual(len(events(run, "other_state")), 1)

    def test_a_last_evaluation_that_cannot_be_read_is_made_again(self):
        run = self.copy_of(lambda event: True)
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
        last = max(i for i, line in enumerate(lines) if json.loads(line)["event"] == "eval")
        for damaged in ("\0" * (len(lines[last]) - 1) + "\n", lines[last][:20] + "\n", ""):
            with self.subTest(damaged):
                (run / "metrics.jsonl").write_text("".join(lines[:last] + [damaged] + lines[last + 1:]))
                self.assertIn("lacks the evaluation of the run's end, step 20", self.problem(run))
                summary = self.run_json("train", self.config, "--run-dir", run)
                self.assertEqual(summary["val_loss"], events(self.reference, "eval")[-1]["val_loss"])
                evals = [[(event["step"], event["val_loss"]) for event in events(of, "eval")]
                         for of in (run, self.reference)]
                self.assertEqual(*evals)
                self.assertIsNone(self.problem(run))


class Ends(Identity):
    def config_until(self, steps):
        return self.write_config(tiny_config(train={"steps": steps}, eval={"every_steps": 0},
                                             checkpoint={"every_steps": 2, "keep_last": 1}))

    def test_the_end_of_a_run_that_is_extended_is_kept(self):
        run = self.fresh()
        for steps in (5, 9, 14):
            told = self.run_ok("train", self.config_until(steps), "--run-dir", run)
        self.assertEqual([path.name for path in checkpoints(run)], ["step_00000005", "step_00000009", "step_00000014"])
        self.run_ok("eval", "--checkpoint", checkpoints(run)[0], "--data", self.folder / "val.bin")
        self.assertIn("removed", told.err)

    def test_each_removal_is_on_record(self):
        run = self.fresh()
        told = self.run_ok("train", self.config_until(9), "--run-dir", run)
        removed = events(run, "checkpoint_removed")
        self.assertEqual([event["removed_step"] for event in removed], [2, 4, 6, 8])
        for event in removed:
            self.assertFalse(Path(event["path"]).exists())
            self.assertIn("removed " + event["path"], told.err)


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
