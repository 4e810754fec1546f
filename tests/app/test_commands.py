#!/usr/bin/env python3
"""What each command promises to who types it: text to shards to a model to numbers and text, and what it may cost."""
import json
import math
import random
import shutil
import struct
from pathlib import Path

import harness
from harness import DIVERGED, DONE, MACHINE, STOPPED, USER, AppTest, Process, checkpoints, events, saslm, tiny_config

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
        refused = saslm(*generate)
        self.assertEqual(refused.code, USER)
        for phrase in (str(tokenizer.resolve()), "--tokenizer"):
            self.assertIn(phrase, refused.err)
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


class Cost(AppTest):
    def plan(self, config):
        return self.run_json("plan", self.write_config(config))

    def test_several_plans_stand_side_by_side(self):
        paths = [self.write_config(tiny_config(kind)) for kind in ("mha", "sas")]
        alone = [self.run_json("plan", path) for path in paths]
        self.assertEqual(self.run_json("plan", *paths), {"plans": alone})
        text = self.run_ok("plan", *paths).out
        rows = [line.split() for line in text.splitlines()]
        self.assertIn([Path(path).stem for path in paths], rows)
        self.assertIn(["total"] + [str(p["parameters"]) for p in alone], rows)
        sas = alone[1]["parameters_by_part"]["sas"]
        self.assertIn(["sas", "-", str(sas)], rows)
        more = 100 * (alone[1]["parameters"] / alone[0]["parameters"] - 1)
        self.assertIn(["against", "the", "first", "+0.00", "%", f"{more:+.2f}", "%"], rows)

    def test_the_plan_is_what_the_run_takes(self):
        for kind in harness.ATTENTION:
            config = tiny_config(kind)
            with self.subTest(kind):
                plan, run = self.plan(config), self.train(config)
                start = events(run, "start")[0]
                self.assertEqual(plan["arena_bytes"], start["arena_bytes"])
                self.assertEqual(sum(plan["bytes_by_region"].values()), plan["arena_bytes"])
                self.assertEqual(plan["parameters"], start["parameters"])
                tensors = harness.read_safetensors(checkpoints(run)[-1] / "model.safetensors").values()
                self.assertEqual(sum(math.prod(t.shape) for t in tensors), plan["parameters"])
                self.assertEqual(sum(plan["parameters_by_part"].values()), plan["parameters"])
                self.assertEqual(plan["tokens_total"], events(run, "step")[-1]["tokens"])

    def expect_checkpoint_size(self, config):
        predicted, run = self.plan(config)["checkpoint_bytes"], self.train(config)
        real = sum(path.stat().st_size for path in checkpoints(run)[-1].iterdir())
        self.assertLessEqual(abs(predicted - real), 64 << 10, f"predicted {predicted}, found {real}")

    def test_a_checkpoint_is_as_large_as_planned(self):
        for kind in harness.ATTENTION:
            with self.subTest(kind):
                self.expect_checkpoint_size(tiny_config(kind))

    def test_a_checkpoint_of_many_tensors_is_as_large_as_planned(self):
        self.expect_checkpoint_size(tiny_config("sas", model={"n_layer": 24, "bias": True}, train={"steps": 5}))

    def larger_config(self, kind):
        """Large enough that a leak of one activation a step would show."""
        return tiny_config(kind, model={"d_model": 128, "max_seq_len": 64, "n_layer": 3},
                           train={"steps": 30, "micro_batch": 4}, checkpoint={"every_steps": 10},
                           eval={"every_steps": 10})

    def watch(self, config, *args):
        """(peak resident size, [resident size at a look, from step 5 on]) of a training run, in bytes."""
        run, sizes = self.fresh(), []
        with Process("train", self.write_config(config), "--run-dir", run, *args) as process:
            def looked_to_the_end():
                try:
                    with open(f"/proc/{process.pid}/status") as status:
                        fields = dict(line.split(":", 1) for line in status)
                except (FileNotFoundError, ProcessLookupError):
                    return False
                if "VmRSS" in fields and harness.steps_done(run) >= 5:
                    sizes.append(1024 * int(fields["VmRSS"].split()[0]))
                return False
            process.wait_until(looked_to_the_end)
            result = process.wait()
            self.assertEqual(result.code, DONE, result.err)
        return process.peak_bytes, sizes

    def test_memory_stays_within_the_plan_and_does_not_grow(self):
        for kind in ("mha", "sas"):
            for threads in ("1", "2"):
                with self.subTest(kind=kind, threads=threads):
                    config = self.larger_config(kind)
                    peak, sizes = self.watch(config, "--set", f"runtime.threads={threads}")
                    self.assertLessEqual(peak, self.plan(config)["arena_bytes"] + 100 * 2**20)
                    self.assertGreaterEqual(len(sizes), 10, "too few looks to see it grow")
                    self.assertLessEqual(max(sizes) - sizes[0], 2 * 2**20, f"from {sizes[0]} to {max(sizes)}")

    def test_a_run_larger_than_a_hundred_megabytes_stays_within_its_plan(self):
        config = tiny_config("sas", model={"d_model": 256, "max_seq_len": 256, "n_layer": 4},
                             train={"steps": 2, "micro_batch": 16, "grad_accum": 1}, checkpoint={"every_steps": 1},
                             optim={"schedule": {"warmup_steps": 0}}, eval={"max_sequences": 2})
        planned = self.plan(config)["arena_bytes"]
        self.assertGreater(planned, 100 * 2**20, "this test wants a larger model")
        peak, _ = self.watch(config)
        self.assertLessEqual(peak, planned + 100 * 2**20)


class BadSteps(AppTest):
    def expect_finite_checkpoint(self, run):
        tensors = harness.read_safetensors(checkpoints(run)[-1] / "model.safetensors")
        self.assertTrue(all(math.isfinite(x) for tensor in tensors.values() for x in tensor.floats()))

    def test_divergence_ends_the_run_with_exit_3_and_finite_weights(self):
        run = self.fresh()
        config = self.write_config(tiny_config(
            "sas", optim={"lr": 1000, "weight_decay": 1000, "grad_clip": 0, "schedule": {"warmup_steps": 0}},
            train={"steps": 50, "max_bad_steps": 4}, checkpoint={"every_steps": 0}))
        done = saslm("train", config, "--run-dir", run)
        self.assertEqual(done.code, DIVERGED, done.err)
        self.assertIn("max_bad_steps", done.err)
        steps = events(run, "step")
        self.assertLess(len(steps), 50)
        self.assertEqual(["not finite" in step.get("skipped", "") for step in steps],
                         [False] * (len(steps) - 4) + [True] * 4)
        self.assertEqual(saslm("inspect", checkpoints(run)[-1]).code, DONE)
        self.assertEqual(checkpoints(run)[-1].name, f"step_{len(steps):08}")
        self.expect_finite_checkpoint(run)
        state = json.loads((checkpoints(run)[-1] / "state.json").read_text())
        self.assertEqual(state["updates"], len(steps) - 4)

    def test_weights_with_a_nan_are_never_trained_on(self):
        start = self.fresh("weights")
        start.mkdir()
        run = self.train(tiny_config("mha"), "--set", "train.steps=5")
        shutil.copy(checkpoints(run)[-1] / "config.json", start)
        tensors = harness.read_safetensors(checkpoints(run)[-1] / "model.safetensors")
        name = "layers.1.mlp.down.weight"
        planted = tensors[name].data[:400] + struct.pack("<f", math.nan) + tensors[name].data[404:]
        tensors[name] = tensors[name]._replace(data=planted)
        (start / "model.safetensors").write_bytes(harness.safetensors_bytes(tensors))

        run = self.fresh()
        done = saslm("train", self.write_config(tiny_config("mha")), "--run-dir", run, "--init-from", start)
        self.assertEqual(done.code, DIVERGED, done.err)
        self.assertEqual(["loss is not finite"] * 5, [step.get("skipped") for step in events(run, "step")])
        self.assertTrue(all(step["loss"] is None for step in events(run, "step")))
        self.assertIn("samples 0 to 7 of the stream", done.err)
        found = harness.read_safetensors(checkpoints(run)[-1] / "model.safetensors")
        self.assertTrue(all(found[n].data == tensors[n].data for n in tensors), "a bad step changed the weights")

    def test_a_spike_is_skipped_and_the_run_goes_on(self):
        # In file order, one step's sequences are noise among ones that repeat.
        draw = random.Random(5)
        easy, noise = [1, 2, 3, 4] * 8, [draw.randrange(harness.VOCAB) for _ in range(32)]
        spiked = 30
        harness.write_shard(self.folder / "spike.bin", (easy * spiked + noise + easy * 20)[:32 * 45] + [1])
        config = tiny_config("mha", data={"train": "spike.bin", "shuffle": False},
                             train={"steps": 40, "micro_batch": 1, "grad_accum": 1, "spike_threshold": 8,
                                    "spike_window": 10},
                             checkpoint={"every_steps": 1, "keep_last": 40})
        run = self.train(config)
        skipped = {step["step"]: step["skipped"] for step in events(run, "step") if "skipped" in step}
        self.assertEqual(list(skipped), [spiked])
        self.assertIn("spike", skipped[spiked])
        folder = {int(path.name[5:]): path for path in checkpoints(run)}
        for name in ("model.safetensors", "optimizer.safetensors"):
            before, after, later = ((folder[spiked + n] / name).read_bytes() for n in range(3))
            self.assertTrue(before == after, f"the skipped step changed {name}")
            self.assertFalse(after == later, "the step after it must train again")
        states = [json.loads((folder[spiked + n] / "state.json").read_text()) for n in range(2)]
        self.assertEqual(states[0]["recent_losses"], states[1]["recent_losses"])
        self.assertEqual([s["updates"] for s in states], [spiked, spiked])


class Start(AppTest):
    def golden_folders(self):
        folders = [path.parent for path in sorted(harness.GOLDEN.glob("*/expected.json"))]
        self.assertGreaterEqual(len(folders), 4)
        return folders

    def test_weights_alone_start_a_run_at_the_golden_loss(self):
        for golden in self.golden_folders():
            with self.subTest(golden.name):
                start = self.fresh("weights")
                start.mkdir()
                for name in ("model.safetensors", "config.json"):
                    shutil.copy(golden / name, start)
                run, expected = self.fresh(), json.loads((golden / "expected.json").read_text())
                self.run_ok("train", golden / "config.json", "--run-dir", run, "--init-from", start)
                steps, evals = events(run, "step"), events(run, "eval")
                # The reference is float64; a loss of about 4 in fp32 is known to some 1e-6.
                self.assertAlmostEqual(steps[0]["loss"], expected["steps"][0]["loss"], delta=1e-5)
                self.assertAlmostEqual(steps[0]["grad_norm"], expected["steps"][0]["grad_norm"], delta=1e-4)
                self.assertAlmostEqual(evals[0]["val_loss"], expected["evals"][0]["val_loss"], delta=1e-5)
                self.assertEqual([e["step"] for e in evals], [e["step"] for e in expected["evals"]])
                for mine, theirs in zip(steps, expected["steps"], strict=True):
                    self.assertAlmostEqual(mine["lr"], theirs["lr"], delta=1e-12)
                    self.assertAlmostEqual(mine["loss"], theirs["loss"], delta=2e-3)

    def test_a_checkpoint_starts_another_run_with_its_weights_and_nothing_else(self):
        first = self.train(tiny_config("sas"))
        run = self.train(tiny_config("sas"), "--init-from", checkpoints(first)[-1])
        self.assertEqual(events(run, "start")[0]["resumed_from_step"], 0)
        self.assertEqual(events(run, "eval")[0]["val_loss"], events(first, "eval")[-1]["val_loss"])
        self.assertEqual([step["step"] for step in events(run, "step")], list(range(20)))

    def losses(self, *args):
        config = tiny_config("sas", train={"steps": 10}, optim={"lr": 1e-3})
        return [step["loss"] for step in events(self.train(config, *args), "step")]

    def test_a_batch_may_be_cut_into_micro_steps(self):
        whole = self.losses("--set", "train.micro_batch=4", "--set", "train.grad_accum=1")
        for micro, accum in ((2, 2), (1, 4)):
            cut = self.losses("--set", f"train.micro_batch={micro}", "--set", f"train.grad_accum={accum}")
            for a, b in zip(whole, cut, strict=True):
                self.assertAlmostEqual(a, b, delta=1e-5)

    def test_the_seed_decides_the_run(self):
        self.assertEqual(self.losses(), self.losses())
        self.assertNotEqual(self.losses(), self.losses("--set", "train.seed=2"))

    def test_set_overrides_the_file(self):
        run = self.train(tiny_config("mha"), "--set", "train.steps=6", "--set", "optim.schedule.kind=constant",
                         "--set", "optim.schedule.warmup_steps=0", "--set", "optim.lr=0.002",
                         "--set", 'model.mlp={"kind":"gelu","hidden":48}', "--set", "data.val=",
                         "--set", "train.steps=5")
        steps = events(run, "step")
        self.assertEqual(len(steps), 5, "the last override of a key counts")
        self.assertEqual({step["lr"] for step in steps}, {0.002})
        self.assertEqual(events(run, "eval"), [])
        stored = json.loads((run / "config.json").read_text())
        self.assertEqual(stored["model"]["mlp"], {"kind": "gelu", "hidden": 48})

    def test_checkpoints_are_kept_as_asked(self):
        run = self.train(tiny_config("mha", checkpoint={"every_steps": 2, "keep_last": 2, "keep_every": 6}))
        self.assertEqual([int(path.name[5:]) for path in checkpoints(run)], [6, 12, 18, 20])


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
