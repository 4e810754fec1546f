#!/usr/bin/env python3
"""What each command promises: from text to shards to a model to numbers and text."""
import json
import math
import os
import shutil
import struct
import subprocess
from pathlib import Path

import harness
from harness import DONE, MACHINE, STOPPED, USER, AppTest, checkpoints, events, saslm, steps_done, tiny_config

FIXTURES = Path(__file__).resolve().parent.parent / "data" / "fixtures"
TEXT = """\
The mill stood where the river bent, and for as long as anyone remembered it had turned with the water. In spring the
wheel ran fast and the miller slept little; in late summer it hardly moved, and he mended sacks and told stories to the
children who came with their mothers' grain.

One story was of the winter when the river froze from bank to bank. The wheel stopped in the night, and the silence
woke him. He went out with a lantern and found the wheel hung with ice, every paddle bearded, and the water gone quiet
under a white lid. He thought that the river had died. He sat down on the bank and did not know what to do with his
hands.

In the morning the smith came with an iron bar, and after him the baker, who needed flour, and after her nearly
everyone. They broke the ice from the wheel, paddle by paddle, and by noon it gave one turn, and stopped, and gave
another. The miller said afterwards that he had thought the mill was his, and that the river was his, and had learned
in one day that neither was so.

The children always asked whether the river had really died. He told them that it had only been thinking.

<|endoftext|>
To make a small loaf, take three cups of flour, one of water, a spoon of salt and a little of the dough that was kept
from the last loaf. Mix them with a wooden spoon until no dry flour is left. Wait. Fold the dough over itself four
times, turning the bowl a little each time, and wait again. The dough will tell when it is ready: it holds the mark of
a finger, and it smells of apples.

Heat the oven until a pinch of flour browns on its floor in the time it takes to say a short poem. Put the loaf in,
throw in a cup of water for the steam, and shut the door. Do not open it to look. When the kitchen smells of crust,
knock on the bottom of the loaf; if it sounds hollow, it is done. Keep a little dough for the next one.
"""


def byte_config(kind="mha", **patch):
    """A run on the tokenized text."""
    base = tiny_config(kind, model={"vocab_size": 256, "max_seq_len": 32},
                       data={"train": "tokens/text_*.bin", "val": "tokens/held_*.bin"},
                       train={"steps": 30}, eval={"every_steps": 10, "max_sequences": 0})
    return harness.merged(base, patch)


class TextRun(AppTest):
    """The text as shards, and a model trained on them."""

    run_dir = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if TextRun.run_dir:
            return
        cls.text, cls.held = cls.folder / "text.txt", cls.folder / "held.txt"
        TextRun.text, TextRun.held, TextRun.tokens = cls.text, cls.held, cls.folder / "tokens"
        cls.text.write_text(TEXT)
        cls.held.write_text("\n".join(TEXT.splitlines()[3:12]))
        for path in (cls.text, cls.held):
            done = saslm("tokenize", "--input", path, "--tokenizer", "bytes", "--out", cls.tokens,
                         "--prefix", path.stem)
            assert done.code == DONE, done.err
        TextRun.config, run = cls.write_config(byte_config()), cls.fresh()
        done = saslm("train", cls.config, "--run-dir", run)
        assert done.code == DONE, done.err
        TextRun.run_dir, TextRun.checkpoint = run, checkpoints(run)[-1]

    def generate(self, *args, tokens=40, prompt="The river "):
        return self.run_ok("generate", "--checkpoint", self.checkpoint, "--prompt", prompt, "--tokens", tokens,
                           *args).out


class Tokenize(TextRun):
    def test_bytes_are_tokens_and_documents_are_set_apart(self):
        documents = TEXT.encode().split(b"<|endoftext|>\n")
        self.assertEqual(len(documents), 2)
        wanted = b"\0".join(documents)
        self.assertEqual((self.tokens / "text_000000.bin").read_bytes(), harness.shard_bytes(wanted))
        info = json.loads((self.tokens / "text.json").read_text())
        self.assertEqual((info["tokenizer"], info["tokens"], info["documents"], info["bytes"]),
                         ("bytes", len(wanted), 2, len(wanted) - 1))

    def test_shards_are_cut_at_the_size_asked_for(self):
        out = self.fresh("tokens")
        info = self.run_json("tokenize", "--input", self.text, self.held, "--out", out, "--shard-tokens", "1000",
                             "--separator", "", "--dtype", "uint32")
        shards = sorted(out.glob("*.bin"))
        self.assertEqual([shard.name for shard in shards], info["files"])
        tokens = []
        for shard in shards:
            magic, version, count = struct.unpack_from("<3i", raw := shard.read_bytes())
            self.assertEqual((magic, version), (20240801, 7))
            self.assertEqual(len(raw), 1024 + 4 * count)
            self.assertTrue(count == 1000 or shard == shards[-1])
            tokens += struct.unpack_from(f"<{count}I", raw, 1024)
        self.assertEqual(bytes(tokens), self.text.read_bytes() + b"\0" + self.held.read_bytes())

    def test_no_half_shard_is_left_by_a_refusal(self):
        out = self.fresh("tokens")
        self.assertEqual(saslm("tokenize", "--input", self.folder / "none", "--out", out).code, USER)
        self.assertFalse(out.exists() and any(out.iterdir()))


class BytePairs(AppTest):
    """A tokenizer file, from text to text."""

    def test_a_model_finds_the_tokenizer_it_was_trained_with(self):
        folder = self.fresh("byte_pairs")
        folder.mkdir()
        tokenizer = folder / "tokenizer.json"
        shutil.copy(FIXTURES / "base.json", tokenizer)
        (folder / "text.txt").write_text(TEXT * 3)
        out = self.run_json("tokenize", "--input", folder / "text.txt", "--tokenizer", tokenizer, "--out", folder)
        self.assertEqual((out["tokenizer"], out["vocab_size"], out["documents"]), (str(tokenizer.resolve()), 639, 4))
        self.assertLess(out["tokens"], out["bytes"] * 0.8)
        config = tiny_config(model={"vocab_size": 639}, data={"train": str(folder / "tokens_*.bin"), "val": None},
                             train={"steps": 5}, eval={"every_steps": 0})
        checkpoint = checkpoints(self.train(config))[-1]
        generate = ["generate", "--checkpoint", checkpoint, "--prompt", "the quick <|endoftext|>\n", "--tokens", 20]
        told = self.run_ok(*generate)
        self.assertTrue(told.out.startswith("the quick <|endoftext|>\n"), told.out)
        evaluated = self.run_json("eval", "--checkpoint", checkpoint, "--data", folder / "tokens_*.bin")
        self.assertGreater(evaluated["bits_per_byte"], 0)
        # The path may lead there in other words, or the file have moved with its data.
        shutil.move(tokenizer, folder / "moved.json")
        self.train(harness.merged(config, {"data": {"tokenizer": str(folder / "moved.json")}}))
        self.assertEqual(self.run_ok(*generate).out, told.out)  # it has a copy
        self.assertEqual(self.run_ok(*generate, "--tokenizer", folder / "moved.json").out, told.out)

    def test_another_tokenizer_than_that_of_the_data_is_refused(self):
        folder = self.fresh("byte_pairs")
        folder.mkdir()
        (folder / "text.txt").write_text(TEXT)
        self.run_ok("tokenize", "--input", folder / "text.txt", "--tokenizer", FIXTURES, "--out", folder)
        config = tiny_config(model={"vocab_size": 639}, data={"train": str(folder / "tokens_*.bin"), "val": None,
                                                              "tokenizer": str(FIXTURES / "base.json")})
        refused = saslm("train", self.write_config(config), "--run-dir", self.fresh())
        self.assertEqual(refused.code, USER)
        for phrase in ("base.json", "encoder.json"):
            self.assertIn(phrase, refused.err)


class Eval(TextRun):
    def test_eval_finds_the_loss_that_training_logged(self):
        logged = events(self.run_dir, "eval")[-1]
        for place in (self.checkpoint, self.run_dir):
            found = self.run_json("eval", "--checkpoint", place, "--data", self.tokens / "held_*.bin")
            self.assertAlmostEqual(found["loss"], logged["val_loss"], delta=1e-6)
            self.assertEqual(found["tokens"], logged["val_tokens"])
            self.assertAlmostEqual(found["ppl"], math.exp(found["loss"]), delta=1e-9 * found["ppl"])
            # One token a byte, and one document, hence no boundary.
            self.assertAlmostEqual(found["bits_per_byte"], found["loss"] / math.log(2), delta=1e-9)

    def test_each_checkpoint_has_its_own_loss(self):
        logged = {event["step"]: event["val_loss"] for event in events(self.run_dir, "eval")}
        found = self.run_json("eval", "--checkpoint", self.run_dir / "checkpoints/step_00000020",
                              "--data", self.tokens / "held_*.bin")
        self.assertAlmostEqual(found["loss"], logged[20], delta=1e-6)
        self.assertGreater(abs(found["loss"] - logged[30]), 1e-3)

    def test_a_shorter_sequence_and_fewer_of_them_can_be_asked_for(self):
        found = self.run_json("eval", "--checkpoint", self.checkpoint, "--data", self.tokens / "held_*.bin",
                              "--seq-len", "16", "--max-sequences", "3")
        self.assertEqual((found["seq_len"], found["sequences"], found["tokens"]), (16, 3, 48))

    def test_a_newer_checkpoint_that_is_damaged_is_named(self):
        run = self.fresh()
        shutil.copytree(self.run_dir, run)
        (checkpoints(run)[-1] / "state.json").write_text("{}")
        for command in (["eval", "--data", self.tokens / "held_*.bin"], ["generate", "--tokens", 1]):
            done = saslm(*command, "--checkpoint", run)
            self.assertEqual(done.code, DONE, done.err)
            self.assertIn(f"warning: skipped checkpoint {checkpoints(run)[-1]}: ", done.err)

    def test_the_text_form_says_the_same(self):
        loss = events(self.run_dir, "eval")[-1]["val_loss"]
        out = self.run_ok("eval", "--checkpoint", self.checkpoint, "--data", self.tokens / "held_*.bin").out
        self.assertIn(f"{loss:.5f}", out)


class Generate(TextRun):
    def test_one_seed_is_one_text_and_another_another(self):
        first = self.generate("--seed", "7")
        self.assertEqual(first, self.generate("--seed", "7"))
        self.assertNotEqual(first, self.generate("--seed", "8"))
        self.assertTrue(first.startswith("The river "))

    def test_greedy_text_does_not_depend_on_the_seed_and_goes_on_past_the_context(self):
        greedy = ["--temperature", "0", "--json"]
        texts = {json.loads(self.generate(*greedy, "--seed", seed, tokens=200))["text"] for seed in (1, 2)}
        self.assertEqual(len(texts), 1)
        self.assertGreaterEqual(len(texts.pop()), 200 - 10)  # a byte that is no character by itself may be joined
        longer = json.loads(self.generate(*greedy, tokens=100, prompt=TEXT[:300]))  # a prompt past the context
        self.assertEqual(longer["tokens"], 100)

    def test_one_candidate_is_the_greedy_choice(self):
        self.assertEqual(self.generate("--top-k", "1", "--seed", "3"), self.generate("--temperature", "0"))

    def test_a_prompt_is_not_needed_and_zero_tokens_are_few(self):
        self.assertEqual(self.run_ok("generate", "--checkpoint", self.checkpoint, "--tokens", "0").out.strip(), "")

    def test_json_is_one_object_whatever_bytes_are_drawn(self):
        out = json.loads(self.generate("--json", "--temperature", "50", tokens=100))  # nearly uniform over all bytes
        self.assertEqual((out["prompt"], out["tokens"]), ("The river ", 100))

    def test_a_model_of_every_kind_generates(self):
        for kind in harness.ATTENTION:
            run = self.train(byte_config(kind), "--set", "train.steps=5")
            out = self.run_json("generate", "--checkpoint", run, "--tokens", "50", "--temperature", "0")
            self.assertEqual(out["tokens"], 50, kind)


class Inspect(TextRun):
    def damaged_copy(self, path, damage):
        copy = self.fresh("copy").with_suffix("" if path.is_dir() else path.suffix)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
        damage(copy)
        return copy

    def test_whole_things_are_told_from_damaged_ones(self):
        def truncate(*names):
            def damage(path):
                for name in names:
                    path = path / name
                path.write_bytes(path.read_bytes()[:-2])
            return damage

        def flip(*names):
            def damage(path):
                path = path.joinpath(*names)
                raw = bytearray(path.read_bytes())
                raw[-3] ^= 1
                path.write_bytes(raw)
            return damage

        newest = self.checkpoint.name
        cases = [
            ("token shard", self.tokens / "text_000000.bin", truncate()),
            ("safetensors", self.checkpoint / "model.safetensors", truncate()),
            ("safetensors", self.checkpoint / "optimizer.safetensors", truncate()),
            ("checkpoint", self.checkpoint, flip("model.safetensors")),
            ("checkpoint", self.checkpoint, truncate("manifest.json")),
            ("checkpoint", self.checkpoint, flip("state.json")),
            ("run", self.run_dir, flip("checkpoints", newest, "optimizer.safetensors")),
        ]
        for what, path, damage in cases:
            with self.subTest(what=what, path=path.name):
                whole = self.run_json("inspect", path)
                self.assertEqual((whole["what"], whole["problem"]), (what, None))
                self.assertIn("whole", self.run_ok("inspect", path).out)
                copy = self.damaged_copy(path, damage)
                found = saslm("inspect", copy, "--json")
                self.assertEqual(found.code, USER)
                self.assertEqual(json.loads(found.out)["what"], what)
                self.assertTrue(json.loads(found.out)["problem"])
                text = saslm("inspect", copy)
                self.assertEqual(text.code, USER)
                self.assertIn("DAMAGED", text.out)

    def test_what_is_something_else_is_not_called_damaged(self):
        for path in (self.run_dir / "config.json", self.run_dir / "metrics.jsonl", self.tokens, self.folder):
            done = saslm("inspect", path)
            self.assertEqual((done.code, done.out), (USER, ""))
            self.assertIn(f"{path}: not a shard, safetensors file, checkpoint or run; ", done.err)

    def test_tensors_are_listed_with_their_shapes(self):
        found = self.run_json("inspect", self.checkpoint)
        wanted = harness.read_safetensors(self.checkpoint / "model.safetensors")
        self.assertEqual({t["name"]: (t["dtype"], t["shape"]) for t in found["tensors"]},
                         {name: (t.dtype, t.shape) for name, t in wanted.items()})
        self.assertEqual(found["step"], 30)

    def test_tokens_are_counted(self):
        found = self.run_json("inspect", self.tokens / "text_000000.bin")
        body = TEXT.encode().replace(b"<|endoftext|>\n", b"\0")
        self.assertEqual((found["tokens"], found["min_token"], found["max_token"]), (len(body), 0, max(body)))


class Schema(TextRun):
    def test_it_is_json_and_knows_every_key_of_a_stored_config(self):
        schema = json.loads(self.run_ok("schema").out)

        def expect_known(block, described, path):
            for key, value in block.items():
                self.assertIn(key, described["properties"], path)
                self.assertTrue(described["properties"][key]["description"], f"{path}{key}")
                if isinstance(value, dict):
                    expect_known(value, described["properties"][key], f"{path}{key}.")

        for kind in harness.ATTENTION:
            run = self.train(byte_config(kind), "--set", "train.steps=5")
            stored = json.loads((checkpoints(run)[-1] / "config.json").read_text())
            expect_known(stored, schema, "")
            self.assertEqual(stored, json.loads((run / "config.json").read_text()))

    def test_a_stored_config_is_a_config_and_makes_the_same_run(self):
        again = self.fresh()
        self.run_ok("train", self.checkpoint / "config.json", "--run-dir", again)
        self.assertEqual((checkpoints(again)[-1] / "model.safetensors").read_bytes(),
                         (self.checkpoint / "model.safetensors").read_bytes())


class Conduct(TextRun):
    def test_exit_codes_are_those_documented(self):
        run = self.fresh()
        self.assertEqual(saslm("train", self.config, "--run-dir", run, "--max-minutes", "1e-9").code, STOPPED)
        self.assertEqual(saslm("train", self.config, "--run-dir", run).code, DONE)
        self.assertEqual(saslm("train", self.config, "--run-dir", run, "--set", "train.seed=9").code, USER)
        self.assertEqual(saslm("--help").code, DONE)
        self.assertEqual(saslm("train", "--help").code, DONE)

    def test_output_that_cannot_be_written_is_the_machines_fault(self):
        with open("/dev/full", "w") as full:
            for args in (["schema"], ["plan", self.config], ["inspect", self.checkpoint]):
                with self.subTest(args[0]):
                    self.assertEqual(saslm(*args, stdout=full).code, MACHINE)

    def test_json_is_one_object_and_everything_else_goes_to_stderr(self):
        summary = self.run_json("train", self.config, "--run-dir", self.fresh())
        self.assertEqual((summary["finished"], summary["step"]), (True, 30))
        self.assertEqual(summary["val_loss"], events(self.run_dir, "eval")[-1]["val_loss"])
        silent = self.run_ok("train", self.config, "--run-dir", self.fresh())
        self.assertEqual(silent.out, "")
        self.assertIn("saved", silent.err)
        bench = self.run_json("bench", "step", self.config, "--steps", "2", "--warmup", "1")
        self.assertGreater(bench["tokens_per_s"], 0)

    def test_a_path_that_is_not_utf8_is_no_obstacle(self):
        run = self.fresh() / os.fsdecode(b"\xff")
        self.assertTrue(self.run_json("train", self.config, "--run-dir", run)["finished"])
        found = self.run_json("eval", "--checkpoint", run, "--data", self.tokens / "held_*.bin")
        self.assertIn("\ufffd", found["checkpoint"])
        self.assertEqual(self.run_json("inspect", run)["problem"], None)
        self.run_ok("inspect", run)

    def test_a_log_that_nobody_reads_ends_no_run(self):
        run, (read, write) = self.fresh(), os.pipe()
        os.close(read)
        done = subprocess.run([os.environ["SASLM"], "train", self.config, "--run-dir", run], stderr=write)
        os.close(write)
        self.assertEqual((done.returncode, steps_done(run)), (DONE, 30))

    def test_without_standard_streams_nothing_else_is_written_to(self):
        run = self.fresh()
        command = '"$0" "$@" <&- >&- 2>&-'
        done = subprocess.run(["sh", "-c", command, os.environ["SASLM"], "train", self.config, "--run-dir", run])
        self.assertEqual((done.returncode, steps_done(run)), (DONE, 30))
        self.assertRegex((run / ".lock").read_text(), "^process [0-9]+ on host .*\nlock [0-9]+\n$")

    def test_more_threads_than_any_machine_has_are_refused(self):
        done = saslm("train", self.config, "--run-dir", self.fresh(), env={"OMP_NUM_THREADS": "100000"})
        self.assertEqual(done.code, USER, done.err)
        self.assertIn("OMP_NUM_THREADS requests 100000 threads", done.err)

    def test_an_empty_word_is_no_folder(self):
        for command in (["train", self.config, "--init-from", ""], ["eval", "--data", "x", "--checkpoint", ""]):
            done = saslm(*command)
            self.assertEqual(done.code, USER, done.err)
            self.assertIn("empty string", done.err)

    def test_a_finished_run_tells_its_loss_again(self):
        summary = self.run_json("train", self.config, "--run-dir", self.run_dir)
        self.assertTrue(summary["finished"])
        self.assertEqual(summary["val_loss"], events(self.run_dir, "eval")[-1]["val_loss"])

    def test_the_run_directory_has_a_name_of_its_own_when_none_is_given(self):
        folder = self.fresh("work")
        folder.mkdir()
        harness.write_shard(folder / "train.bin", harness.sample_tokens(2000, seed=1))
        (folder / "my_run.json").write_text(json.dumps(tiny_config("mha", data={"val": ""}, train={"steps": 5})))
        self.run_ok("train", "my_run.json", cwd=folder)
        self.assertEqual([path.name for path in checkpoints(folder / "runs/my_run")], ["step_00000005"])


if __name__ == "__main__":
    harness.main()
