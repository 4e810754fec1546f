#!/usr/bin/env python3
"""What an evaluation reads and counts, when it runs, and what it prints."""
import json
import math
import os
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import harness
from harness import DONE, STOPPED, USER, AppTest, Process, checkpoints, events, history, saslm, tiny_config

FIXTURES = Path(__file__).resolve().parent.parent / "data" / "fixtures"
VOCAB = 639  # of base.json
# Words that the tokenizer knows, characters that it does not, and digits: 2.4, 1.0 and 1.1 bytes a token.
TEXTS = {"prose": "the quick brown fox jumps over the lazy dog and the river runs on through the town\n" * 150,
         "greek": "\u03b1\u03b2\u03b3\u03b4\u03b5 \u03b6\u03b7\u03b8 \u03b9\u03ba\u03bb\u03bc\n" * 200,
         "digits": "9 81 729 6561 59049\n" * 60}


def word_bytes():
    """Of each id of base.json, without our code: its characters stand for bytes, as GPT-2 has it."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    stands_for = {chr(byte): byte for byte in plain}
    stands_for.update({chr(256 + i): byte for i, byte in enumerate(b for b in range(256) if b not in plain)})
    file = json.loads((FIXTURES / "base.json").read_text())
    sizes = {i: sum(c in stands_for for c in word) for word, i in file["model"]["vocab"].items()}
    sizes.update({token["id"]: 0 if token["special"] else len(token["content"].encode())
                  for token in file["added_tokens"]})
    return sizes


def tokens_of(shard):
    raw = Path(shard).read_bytes()[1024:]
    return [int.from_bytes(raw[i:i + 2], "little") for i in range(0, len(raw), 2)]


class EvaluationTest(AppTest):
    """Sets of text of very different bytes a token, and a model of their vocabulary."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if hasattr(EvaluationTest, "run_dir"):
            return
        cls.text = EvaluationTest.text = cls.folder / "text"
        cls.text.mkdir()
        shutil.copy(FIXTURES / "base.json", cls.text / "tokenizer.json")
        for name, text in TEXTS.items():
            (cls.text / f"{name}.txt").write_text(text)
            done = saslm("tokenize", "--input", cls.text / f"{name}.txt", "--tokenizer", cls.text / "tokenizer.json",
                         "--out", cls.text, "--prefix", name)
            assert done.code == DONE, done.err
        EvaluationTest.run_dir = cls.fresh()
        done = saslm("train", cls.write_config(cls.config()), "--run-dir", cls.run_dir)
        assert done.code == DONE, done.err
        EvaluationTest.log = done.err

    @classmethod
    def shard(cls, name):
        return cls.text / f"{name}_000000.bin"

    @classmethod
    def config(cls, **patch):
        val = [str(cls.shard(name)) for name in TEXTS]
        return harness.merged(
            tiny_config(model={"vocab_size": VOCAB, "d_model": 16, "n_layer": 1, "mlp": {"hidden": 16}},
                        data={"train": str(cls.shard("prose")), "val": val}, train={"steps": 8},
                        eval={"every_steps": 4, "max_sequences": 0}, checkpoint={"every_steps": 4}), patch)

    def evaluate(self, *names, more=(), run=None):
        return self.run_json("eval", "--checkpoint", run or self.run_dir, "--data", *map(self.shard, names), *more)


class BitsPerByte(EvaluationTest):
    def test_the_bytes_are_those_of_the_very_targets(self):
        sizes = word_bytes()
        bits = {}
        for name in TEXTS:
            with self.subTest(name):
                tokens, found = tokens_of(self.shard(name)), self.evaluate(name)
                targets = tokens[1:1 + (len(tokens) - 1) // 32 * 32]
                self.assertEqual(found["tokens"], len(targets))
                self.assertEqual(found["text_bytes"], sum(sizes[token] for token in targets))
                wanted = found["loss"] * len(targets) / math.log(2) / found["text_bytes"]
                self.assertAlmostEqual(found["bits_per_byte"], wanted, delta=1e-9)
                bits[name] = found["text_bytes"] / found["tokens"]
        self.assertGreater(max(bits.values()), 1.5 * min(bits.values()), "the sets were to differ in bytes a token")

    def test_neither_the_order_of_files_nor_the_wording_changes_a_bit(self):
        for more in ([], ["--max-sequences", "7"], ["--max-sequences", "2"]):
            found = [self.evaluate(*names, more=more) for names in (("prose", "greek"), ("greek", "prose"))]
            for key in ("loss", "bits_per_byte", "text_bytes", "sequences"):
                self.assertEqual(found[0][key], found[1][key], (more, key))
            self.assertEqual(found[0]["sets"], found[1]["sets"][::-1])

    def test_every_set_has_a_line_and_all_have_one(self):
        alone = {name: self.evaluate(name) for name in TEXTS}
        found = self.evaluate(*TEXTS)
        self.assertEqual([one["data"] for one in found["sets"]], [str(self.shard(name)) for name in TEXTS])
        for name, one in zip(TEXTS, found["sets"]):
            for key in ("loss", "ppl", "bits_per_byte", "sequences", "tokens", "text_bytes"):
                self.assertEqual(one[key], alone[name][key], (name, key))
        for key in ("tokens", "sequences", "text_bytes"):
            self.assertEqual(found[key], sum(one[key] for one in found["sets"]))
        nats = sum(one["loss"] * one["tokens"] for one in found["sets"])
        self.assertAlmostEqual(found["loss"], nats / found["tokens"], delta=1e-9)
        self.assertAlmostEqual(found["bits_per_byte"], nats / math.log(2) / found["text_bytes"], delta=1e-9)

        out = self.run_ok("eval", "--checkpoint", self.run_dir, "--data", *map(self.shard, TEXTS)).out.splitlines()
        self.assertEqual(len(out), 2 + len(TEXTS), out)
        for line, name in zip(out[1:], [*map(self.shard, TEXTS), "all"]):
            self.assertTrue(line.startswith(f"  {name}: loss "), line)
        self.assertIn(f"{found['bits_per_byte']:.5f} bits per byte", out[-1])
        one = self.run_ok("eval", "--checkpoint", self.run_dir, "--data", self.shard("greek")).out.splitlines()
        self.assertEqual(len(one), 2)

    def test_metrics_carry_what_eval_finds(self):
        last = events(self.run_dir, "eval")[-1]
        found = self.evaluate(*TEXTS)
        self.assertAlmostEqual(last["val_bpb"], found["bits_per_byte"], delta=1e-6)
        self.assertEqual((last["sequences"], last["val_tokens"]), (found["sequences"], found["tokens"]))
        self.assertGreater(last["eval_ms"], 0)
        self.assertIn(f"{last['val_bpb']:.4f} bits per byte", self.log)

    def test_a_byte_between_documents_is_no_text(self):
        folder = self.fresh("bytes")
        folder.mkdir()
        for name in "ab":
            (folder / name).write_text("abcdefgh" * 4)
        self.run_ok("tokenize", "--input", folder / "a", folder / "b", "--tokenizer", "bytes", "--out", folder)
        run = self.train(tiny_config(model={"vocab_size": 256}, data={"train": str(folder / "tokens_*.bin"), "val": None},
                                     train={"steps": 1}, optim={"schedule": {"warmup_steps": 0}}))
        found = self.run_json("eval", "--checkpoint", run, "--data", folder / "tokens_*.bin", "--seq-len", "32")
        self.assertEqual((found["tokens"], found["text_bytes"]), (64, 63))


class UnknownTokenizer(EvaluationTest):
    def copy(self):
        """The data in a separate folder, to remove its tokenizer."""
        folder = self.fresh("text")
        shutil.copytree(self.text, folder)
        for info in folder.glob("*.json"):
            info.write_text(info.read_text().replace(str(self.text), str(folder)))
        return folder

    def config_in(self, folder):
        return self.config(data={"train": str(folder / "prose_*.bin"), "val": str(folder / "greek_*.bin")})

    def test_without_the_file_there_is_no_figure_and_the_reason(self):
        folder = self.copy()
        (folder / "tokenizer.json").rename(folder / "moved.json")  # before the run could take its bytes
        run = self.train(self.config_in(folder))
        evaluate = ["eval", "--checkpoint", run, "--data", folder / "greek_*.bin"]
        found = self.run_json(*evaluate)
        self.assertIsNone(found["bits_per_byte"])
        self.assertIn(str(folder / "tokenizer.json"), found["no_bits_per_byte"])
        said = self.run_ok(*evaluate).out
        self.assertNotIn(" bits per byte  (", said)
        self.assertIn("no bits per byte: ", said)
        moved = self.run_json(*evaluate, "--tokenizer", folder / "moved.json")
        self.assertAlmostEqual(moved["bits_per_byte"], self.evaluate("greek", run=run)["bits_per_byte"], delta=1e-9)

    def test_a_run_that_carries_it_needs_no_file(self):
        folder = self.copy()
        run = self.train(self.config_in(folder))
        evaluate = ["eval", "--checkpoint", run, "--data", folder / "greek_*.bin"]
        before = self.run_json(*evaluate)
        self.assertIsNotNone(before["bits_per_byte"])
        (folder / "tokenizer.json").unlink()
        self.assertEqual(self.run_json(*evaluate), before)

    def test_a_run_without_it_says_so_and_logs_null(self):
        folder = self.copy()
        for info in ("prose.json", "greek.json"):
            (folder / info).unlink()
        done = saslm("train", self.write_config(self.config_in(folder)), "--run-dir", run := self.fresh())
        self.assertEqual(done.code, DONE, done.err)
        self.assertIn("no bits per byte: ", done.err)
        self.assertEqual({event["val_bpb"] for event in events(run, "eval")}, {None})
        self.assertIsNone(self.run_json("eval", "--checkpoint", run, "--data", folder / "greek_*.bin")["bits_per_byte"])

    def test_another_tokenizer_than_that_of_the_data_gives_no_figure(self):
        folder = self.copy()
        run = self.train(self.config_in(folder))
        evaluate = ["eval", "--checkpoint", run, "--data", folder / "greek_*.bin"]
        file = json.loads((folder / "tokenizer.json").read_text())
        vocab = file["model"]["vocab"]
        first, second = list(vocab)[300:302]
        vocab[first], vocab[second] = vocab[second], vocab[first]
        (folder / "tokenizer.json").write_text(json.dumps(file))
        self.assertIsNotNone(self.run_json(*evaluate)["bits_per_byte"])  # by the run's own copy
        for more in (["--tokenizer", folder / "tokenizer.json"], ["--tokenizer", "bytes"]):
            with self.subTest(more=more):
                done = saslm(*evaluate, *more)
                self.assertEqual((done.code, done.out), (USER, ""), done.err)
                self.assertIn("tokenizer", done.err)
        none = saslm(*evaluate, "--tokenizer", folder / "none.json")
        self.assertEqual(none.code, USER)
        self.assertIn("none.json", none.err)

    def test_what_the_json_claims_of_bytes_and_tokens_changes_nothing(self):
        folder = self.copy()
        info = json.loads((folder / "greek.json").read_text())
        (folder / "greek.json").write_text(json.dumps({**info, "bytes": 10**9}))
        done = saslm("eval", "--checkpoint", self.run_dir, "--data", folder / "greek_*.bin", "--json")
        if done.code == DONE:  # or refused
            self.assertEqual(json.loads(done.out)["bits_per_byte"], self.evaluate("greek")["bits_per_byte"])
        else:
            self.assertEqual(done.code, USER)


class Sample(EvaluationTest):
    def test_every_set_is_read_however_small(self):
        for most in (3, 5, 40):
            sets = self.evaluate(*TEXTS, more=["--max-sequences", most])["sets"]
            self.assertEqual(sum(one["sequences"] for one in sets), most)
            self.assertTrue(all(one["sequences"] >= 1 for one in sets), sets)
        whole = {one["data"]: one["sequences_in_data"] for one in sets}
        for one in sets:
            share = most * whole[one["data"]] / sum(whole.values())
            self.assertLess(abs(one["sequences"] - share), 2)

    def test_it_is_spread_over_the_whole_of_a_file(self):
        """The first half teaches nothing of the second: the first sequences alone have another loss."""
        text = "the quick brown fox jumps over the lazy dog\n" * 300 + "\u03b1\u03b2\u03b3\u03b4\u03b5\n" * 500
        folder = self.fresh("halves")
        folder.mkdir()
        (folder / "text").write_text(text)
        self.run_ok("tokenize", "--input", folder / "text", "--tokenizer", self.text / "tokenizer.json", "--out", folder)
        evaluate = ["eval", "--checkpoint", self.run_dir, "--data", folder / "tokens_*.bin"]
        everything, few = self.run_json(*evaluate), self.run_json(*evaluate, "--max-sequences", "40")
        self.assertEqual(few["sequences"], 40)
        self.assertGreater(everything["sequences"], 200)
        whole = everything["bits_per_byte"]
        self.assertAlmostEqual(few["bits_per_byte"], whole, delta=0.04 * whole)  # the first forty alone: 9 % off

    def test_all_runs_and_variants_read_the_same_and_the_log_says_how_much(self):
        samples, lines = set(), set()
        for kind, more in (("mha", ()), ("sas", ("--set", "train.seed=7")), ("mha", ("--ranks", "2"))):
            config = self.config(model={"attention": harness.ATTENTION[kind]}, train={"steps": 2},
                                 eval={"max_sequences": 12}, optim={"schedule": {"warmup_steps": 0}})
            run = self.fresh()
            done = saslm("train", self.write_config(config), "--run-dir", run, *more)
            self.assertEqual(done.code, DONE, done.err)
            start = events(run, "start")[0]
            samples.add((start["eval_sequences"], start["eval_sample"]))
            lines.update(line.partition("data.val: ")[2] for line in done.err.splitlines() if "data.val: " in line)
            self.assertEqual({e["sequences"] for e in events(run, "eval")}, {12})
        self.assertEqual(len(samples), 1)
        self.assertEqual(len(lines), 1, lines)
        whole = self.evaluate(*TEXTS)["sequences"]
        self.assertIn(f"reads 12 of {whole} sequences", lines.pop())

    def test_training_and_eval_read_the_same(self):
        config = self.config(eval={"max_sequences": 9})
        run = self.train(config)
        found = self.evaluate(*TEXTS, more=["--max-sequences", "9"], run=run)
        self.assertAlmostEqual(events(run, "eval")[-1]["val_loss"], found["loss"], delta=1e-6)
        self.assertAlmostEqual(events(run, "eval")[-1]["val_bpb"], found["bits_per_byte"], delta=1e-6)

    def test_going_on_with_another_sample_is_said(self):
        run, config = self.fresh(), self.config(eval={"max_sequences": 9})
        for steps, most, said in ((8, 9, False), (9, 9, False), (10, 8, True), (11, 0, True), (12, 0, False)):
            done = saslm("train", self.write_config(config), "--run-dir", run, "--set", f"train.steps={steps}",
                         "--set", f"eval.max_sequences={most}")
            self.assertEqual(done.code, DONE, done.err)
            self.assertEqual("evaluations read other sequences" in done.err, said, (steps, done.err))

    def test_the_default_is_bounded_and_zero_is_all(self):
        config = self.config(eval={"max_sequences": None})
        run = self.train(config)
        default = json.loads((run / "config.json").read_text())["eval"]["max_sequences"]
        self.assertGreater(default, 100)
        schema = json.loads(self.run_ok("schema").out)
        self.assertIn(f'"default": {default}', json.dumps(schema["properties"]["eval"]))
        self.assertIn("spread evenly", json.dumps(schema["properties"]["eval"]))
        long = self.fresh("long").with_suffix(".bin")
        harness.write_shard(long, harness.sample_tokens(2 * default * 32, seed=3))
        planned = [self.run_json("plan", self.write_config(self.config(
            data={"val": str(long)}, eval={"max_sequences": most})))["evaluations"] for most in (None, 0)]
        self.assertEqual([p["sequences"] for p in planned], [default, 2 * default - 1])


class Cost(EvaluationTest):
    def test_the_plan_counts_evaluations(self):
        whole = self.evaluate(*TEXTS)["sequences"]
        planned = self.run_json("plan", self.write_config(self.config()))["evaluations"]
        self.assertEqual((planned["number"], planned["sequences"], planned["at_most"]), (3, whole, False))
        training = 3 * 8 * 8  # three times as much per sequence; eight steps of eight
        self.assertAlmostEqual(planned["share_of_flops"], 3 * whole / (3 * whole + training), delta=1e-9)
        said = self.run_ok("plan", self.write_config(self.config())).out.splitlines()
        rows = [line.split() for line in said]
        self.assertIn(["evaluations", "3"], rows)
        self.assertIn(["sequences", "of", "each", str(whole)], rows)

    def test_where_the_data_is_not_there_yet_it_says_at_most(self):
        config = self.config(data={"val": "not_yet_*.bin"}, eval={"max_sequences": 50})
        planned = saslm("plan", self.write_config(config), "--json")
        if planned.code == DONE:  # or refused
            self.assertEqual((json.loads(planned.out)["evaluations"]["sequences"],
                              json.loads(planned.out)["evaluations"]["at_most"]), (50, True))

    def test_a_run_without_validation_has_none(self):
        planned = self.run_json("plan", self.write_config(self.config(data={"val": None})))["evaluations"]
        self.assertEqual((planned["number"], planned["share_of_flops"]), (0, 0))


class Long(EvaluationTest):
    """Evaluations that last: seconds, beside steps of milliseconds."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        Long.val = cls.folder / "long.bin"
        if not Long.val.exists():
            harness.write_shard(Long.val, harness.sample_tokens(100_000, seed=5))

    def long_config(self):
        return self.write_config(self.config(data={"val": str(Long.val)}))

    def start(self, run):
        return Process("train", self.long_config(), "--run-dir", run)

    def test_a_kill_in_the_last_evaluation_loses_nothing(self):
        reference = self.fresh()
        self.run_ok("train", self.long_config(), "--run-dir", reference)
        for number in (signal.SIGKILL, signal.SIGTERM):
            with self.subTest(number):
                run = self.fresh()
                with self.start(run) as process:
                    self.assertTrue(process.wait_until(
                        lambda: any(e["step"] == 8 for e in events(run, "checkpoint"))), "it ended first")
                    process.send(number)
                    code = process.wait().code
                self.assertEqual(code, STOPPED if number == signal.SIGTERM else -number)
                self.assertEqual([e["step"] for e in events(run, "eval")], [0, 4], "the last evaluation was over")
                newest = checkpoints(run)[-1]
                self.assertEqual(newest.name, "step_00000008")
                written = {path: path.stat().st_mtime_ns for path in newest.iterdir()}
                for _ in range(2):  # the evaluation that is owed; then nothing
                    self.run_ok("train", self.long_config(), "--run-dir", run)
                    self.assertEqual(history(run), history(reference))
                    self.assertEqual(len(events(run, "end")), 1)
                    self.assertEqual({path: path.stat().st_mtime_ns for path in newest.iterdir()}, written)

    def test_a_newcomer_sees_it_go_on(self):
        """On a terminal from the beginning."""
        mine, its = harness.open_terminal()
        args = [os.environ["SASLM"], "train", self.long_config(), "--run-dir", self.fresh()]
        process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stderr=its, env={**os.environ, "OMP_NUM_THREADS": "1"})
        os.close(its)
        seen, deadline = b"", time.monotonic() + harness.PATIENCE_S
        try:
            while b"step 0: validation loss" not in seen and time.monotonic() < deadline:
                if select.select([mine], [], [], 0.1)[0]:
                    seen += os.read(mine, 65536)
        finally:
            process.kill()
            process.wait()
            os.close(mine)
        before = seen.partition(b"step 0: validation loss")[0].decode()
        self.assertRegex(before, r"step 0: evaluating 0/\d+ sequences")
        self.assertRegex(before, r"step 0: evaluating [1-9]\d*/\d+ sequences \| \d+s left")

    def test_without_a_terminal_only_long_ones_are_told_of(self):
        self.assertNotIn("evaluating", self.log)
        run = self.fresh()
        with self.start(run) as process:
            self.assertTrue(process.wait_until(lambda: events(run, "start")))
            process.send(signal.SIGSTOP)
            time.sleep(5.2)  # lines come every five seconds
            process.send(signal.SIGCONT)
            self.assertTrue(process.wait_until(lambda: events(run, "eval")))
            process.send(signal.SIGKILL)
            said = process.wait().err
        self.assertRegex(said, r"step 0: evaluating \d+/3124 sequences \| ")

    def test_the_time_left_counts_evaluations_to_come(self):
        """Steps of milliseconds, evaluations of a second: what is left is nearly all evaluation."""
        run = self.fresh()
        done = saslm("train", self.long_config(), "--run-dir", run)
        self.assertEqual(done.code, DONE, done.err)
        line = next(line for line in done.err.splitlines() if " eta " in line)
        step = int(re.search(r"step (\d+)/", line)[1])
        left = sum(int(number) * {"s": 1, "m": 60}[unit]
                   for number, unit in re.findall(r"(\d+)([ms])", line.rpartition(" eta ")[2]))
        spent = [event["eval_ms"] / 1e3 for event in events(run, "eval")]
        to_come = sum(at >= step for at in (4, 8))
        self.assertGreaterEqual(left + 1, to_come * min(spent), line)  # shown in whole seconds
        self.assertGreater(spent[0], 10 * events(run, "step")[0]["step_ms"] / 1e3, "this test wants longer evaluations")


if __name__ == "__main__":
    harness.main()
