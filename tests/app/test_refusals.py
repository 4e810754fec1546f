#!/usr/bin/env python3
"""Bad input is refused before any training: exit 2, named on stderr, nothing on stdout, nothing started."""
import os

import harness
from harness import AppTest, sample_tokens, shard_bytes
from refusals import TOKENS, VOCAB, Refusals, tiny_config

# ---- Tables: what is wrong, and phrases that stderr must hold.

def model(**keys):
    return {"model": keys}


def attention(**keys):
    return model(attention=keys)


def sas(**keys):
    return attention(sas=keys)


CONFIGS = [  # kind, patch over the tiny config (None removes), phrases
    # unknown keys
    ("mha", attention(n_heads=4), ["model.attention.n_heads", "did you mean n_head?"]),
    ("mha", {"optimizer": {}}, ["unknown key optimizer", "did you mean optim?"]),
    ("mha", {"zzz": 1}, ["unknown key zzz", "Valid here: model, data"]),
    ("sas", sas(kernel=3), ["model.attention.sas.kernel", "did you mean kernel_size?"]),
    ("mha", {"checkpoint": {"every": 5}}, ["unknown key checkpoint.every", "every_steps"]),
    # missing keys
    ("mha", {"model": None}, ["model is missing"]),
    ("mha", {"data": None}, ["data is missing"]),
    ("mha", {"data": {"train": None}}, ["data.train is missing"]),
    ("mha", model(vocab_size=None), ["model.vocab_size is missing"]),
    ("mha", model(mlp=None), ["model.mlp is missing"]),
    ("mha", attention(kind=None), ["model.attention.kind is missing", "sas"]),
    ("sas", attention(sas=None), ["model.attention.sas is missing"]),
    ("sas", sas(n_sim_head=None), ["model.attention.sas.n_sim_head is missing"]),
    ("gqa", attention(n_kv_head=None), ["model.attention.n_kv_head is missing"]),
    # wrong types
    ("mha", attention(n_head="2"), ["model.attention.n_head", "integer", '"2"']),
    ("mha", attention(n_head=2.0), ["model.attention.n_head", "floating-point"]),
    ("mha", attention(n_head=True), ["model.attention.n_head", "boolean"]),
    ("mha", model(tie_embeddings=1), ["model.tie_embeddings", "true or false"]),
    ("mha", {"model": []}, ["model: wanted an object", "a list"]),
    ("mha", {"model": {"attention": "mha"}}, ["model.attention: wanted an object"]),
    ("mha", {"data": {"train": 7}}, ["data.train", "got 7"]),
    ("mha", {"data": {"train": []}}, ["data.train", "at least one"]),
    ("mha", {"data": {"train": "a\0b"}}, ["data.train", "zero byte"]),
    ("mha", {"optim": {"lr": "fast"}}, ["optim.lr", "fast"]),
    ("mha", {"optim": {"betas": [0.9]}}, ["optim.betas", "two numbers"]),
    ("mha", {"optim": {"schedule": "cosine"}}, ["optim.schedule", "object"]),
    # impossible values
    ("mha", attention(kind="flash"), ["model.attention.kind", '"mha"', '"flash"']),
    ("mha", attention(n_head=0), ["model.attention.n_head", "got 0"]),
    ("mha", attention(n_head=-2), ["model.attention.n_head", "got -2"]),
    ("mha", model(d_model=10**30), ["model.d_model", "1e+30"]),
    ("mha", model(vocab_size=2147483647, d_model=1048576), ["2^40 parameters"]),
    ("mha", {"optim": {"lr": -1}}, ["optim.lr", "got -1"]),
    ("mha", {"optim": {"betas": [0.9, 1]}}, ["optim.betas", "below 1"]),
    ("mha", {"optim": {"schedule": {"warmup_steps": 21}}}, ["optim.schedule.warmup_steps", "train.steps (20)", "21"]),
    ("mha", {"train": {"steps": 0}}, ["train.steps", "got 0"]),
    ("mha", {"train": {"micro_batch": 0}}, ["train.micro_batch"]),
    ("mha", {"train": {"seed": -1}}, ["train.seed", "got -1"]),
    ("mha", {"train": {"grad_accum": None, "global_batch": 6}}, ["train.global_batch", "multiple of micro_batch (4)"]),
    ("mha", {"checkpoint": {"keep_last": 0}}, ["checkpoint.keep_last"]),
    ("mha", {"runtime": {"device": "gpu"}}, ["runtime.device", '"gpu"']),
    ("mha", {"runtime": {"device": "cpu", "precision": "bf16"}}, ["runtime.precision", "fp32"]),
    # what does not fit together
    ("sas", sas(kernel_size=4), ["model.attention.sas.kernel_size", "odd", "got 4"]),
    ("sas", sas(n_sim_head=5), ["model.attention.sas.n_sim_head", "multiple of n_head (2)", "got 5"]),
    ("sas", sas(sim_head_dim=25), ["model.attention.sas.sim_head_dim", "even", "got 25"]),
    ("sas", sas(simulate=[]), ["model.attention.sas.simulate"]),
    ("sas", sas(simulate=["features", "values"]), ['"values" needs "heads"']),
    ("sas", sas(simulate=["heads"]), ["sim_head_dim", "features"]),
    ("mha", attention(head_dim=15), ["model.attention.head_dim", "even", "got 15"]),
    ("mha", attention(n_kv_head=1), ["model.attention.n_kv_head", "gqa"]),
    ("gqa", attention(n_kv_head=3), ["model.attention.n_kv_head", "divisor of n_head (4)", "got 3"]),
    ("mha", attention(sas=harness.ATTENTION["sas"]["sas"]), ["model.attention.sas", 'set kind to "sas"']),
    ("mha", {"train": {"seq_len": 33}}, ["train.seq_len", "model.max_seq_len (32)", "got 33"]),
    ("mha", model(max_seq_len=8192), ["too short", "has 6000 tokens", "8193 tokens"]),
    ("mha", {"data": {"train": "none_*.bin"}}, ["no file matches", "none_*.bin"]),
    ("mha", {"data": {"train": ["train.bin", "none.bin"]}}, ["no file matches", "none.bin"]),
    ("mha", {"data": {"train": ["train.bin", "train.b*"]}}, ["train.bin", "given twice"]),
    ("mha", {"data": {"val": "none.bin"}}, ["no file matches", "none.bin"]),
    ("mha", {"data": {"train": "."}}, ["not a regular file"]),
    ("mha", model(vocab_size=50), ["train.bin: token", "at offset", "vocab_size"]),
]

TEXTS = [
    ("", ["empty"]),
    ("{} {}", ["line 1, column 4"]),
    ("[1]", ["wanted one JSON object"]),
    ('{"model": {"d_model": 1, "d_model": 2}}', ["model.d_model", "given twice"]),
    ("[" * 100000, ["nested more than 64 levels"]),
    ('{"a":' * 100000, ["nested more than 64 levels"]),
    ('{"optim": {"lr": NaN}}', ["line 1, column 18"]),
    ('{"optim": {"lr": 1e999}}', ["optim.lr", "finite number"]),
    ("\ufeff{}", ["byte order mark"]),
    ('{"a": 1, // a comment\n "b": 2}', ["line 1"]),
    ("\0" * 100, ["zero byte"]),
    (" " * (16 * 2**20 + 1), ["larger than 16 MiB"]),
]

OVERRIDES = [
    ("optim.lr", ["--set optim.lr", "KEY=VALUE"]),
    ("=3", ["--set =3"]),
    ("optim..lr=3", ["--set optim..lr=3"]),
    ("optim.lr=fast", ["--set optim.lr=fast", "fast"]),
    ("optim.rl=1", ["optim.rl", "did you mean lr?"]),
    ("train.steps.x=3", ["train.steps"]),
    ("optim.lr=1e999", ["optim.lr", "finite number"]),
    ("optim.lr=NaN", ["optim.lr"]),
    ("train.steps=10.5", ["train.steps", "10.5"]),
]

ARGUMENTS = [  # {run} is where something may be written, {model} a checkpoint, {small} one of too few tokens
    (["train"], ["CONFIG"]),
    ([], ["saslm needs a command: tokenize, plan"]),
    (["trian", "{config}"], ["trian"]),
    (["train", "{config}", "--runs-dir", "{run}"], ["--runs-dir"]),
    (["train", "{config}", "extra", "--run-dir", "{run}"], ["extra"]),
    (["train", "{config}", "--run-dir", "{run}", "--resume", "maybe"], ["--resume", "maybe"]),
    (["train", "{config}", "--run-dir", "{run}", "--device", "tpu"], ["--device", "tpu"]),
    (["train", "{config}", "--run-dir", "{run}", "--max-minutes", "-1"], ["--max-minutes"]),
    (["train", "{config}", "--run-dir", "{run}", "--max-minutes", "soon"], ["--max-minutes", "soon"]),
    (["train", "{config}", "--run-dir", "{run}", "--max-minutes", "nan"], ["--max-minutes"]),
    (["train", "{config}", "--run-dir"], ["--run-dir"]),
    (["train", "{config}", "--run-dir", "{config}"], ["config.json"]),
    (["train", "{config}", "--run-dir", "{config}/below"], ["config.json"]),
    (["train", "{folder}/none.json", "--run-dir", "{run}"], ["none.json", "No such file"]),
    (["train", "{folder}", "--run-dir", "{run}"], ["this is a folder"]),
    (["train", "{folder}/train.bin", "--run-dir", "{run}"], ["train.bin"]),
    (["train", "{config}", "--run-dir", "{run}", "--resume", "must"], ["--resume must"]),
    (["train", "{config}", "--run-dir", "{run}", "--init-from", "{folder}/none"], ["none"]),
    (["train", "{config}", "--run-dir", "{run}", "--init-from", "{config}"], ["config.json"]),
    (["plan", "{folder}/none.json"], ["none.json"]),
    (["plan", "{config}", "--jsn"], ["--jsn"]),
    (["eval", "--data", "{folder}/val.bin"], ["--checkpoint"]),
    (["eval", "--checkpoint", "{model}"], ["--data"]),
    (["eval", "--checkpoint", "{folder}/none", "--data", "{folder}/val.bin"], ["none"]),
    (["eval", "--checkpoint", "{folder}", "--data", "{folder}/val.bin"], ["no model here"]),
    (["eval", "--checkpoint", "{folder}/val.bin", "--data", "{folder}/val.bin"], ["val.bin"]),
    (["eval", "--checkpoint", "{model}", "--data", "{folder}/none.bin"], ["none.bin"]),
    (["eval", "--checkpoint", "{model}", "--data", "{folder}/val.bin", "--seq-len", "33"], ["--seq-len", "33", "32"]),
    (["eval", "--checkpoint", "{model}", "--data", "{folder}/val.bin", "--seq-len", "0"], ["--seq-len"]),
    (["eval", "--checkpoint", "{model}", "--data", "{folder}/val.bin", "--seq-len", "1.5"], ["--seq-len"]),
    (["eval", "--checkpoint", "{model}", "--data", "{folder}/val.bin", "--max-sequences", "-1"], ["--max-sequences"]),
    (["eval", "--checkpoint", "{model}", "--data", "{folder}/val.bin", "--max-sequences", "99999999999999999999"],
     ["--max-sequences"]),
    (["eval", "--checkpoint", "{model}", "--data", "{folder}/large.bin"], ["large.bin: token 256 at offset 77"]),
    (["generate"], ["--checkpoint"]),
    (["generate", "--checkpoint", "{model}", "--tokenizer", "bytes", "--temperature", "-1"], ["--temperature"]),
    (["generate", "--checkpoint", "{model}", "--tokenizer", "bytes", "--temperature", "nan"], ["--temperature"]),
    (["generate", "--checkpoint", "{model}", "--tokenizer", "bytes", "--temperature", "hot"], ["--temperature", "hot"]),
    (["generate", "--checkpoint", "{model}", "--tokenizer", "bytes", "--top-k", "-1"], ["--top-k"]),
    (["generate", "--checkpoint", "{model}", "--tokenizer", "bytes", "--tokens", "-1"], ["--tokens"]),
    (["generate", "--checkpoint", "{model}", "--tokenizer", "bytes", "--tokens", "99999999999999999999"], ["--tokens"]),
    (["generate", "--checkpoint", "{model}", "--tokenizer", "bytes", "--seed", "-1"], ["--seed"]),
    (["generate", "--checkpoint", "{model}", "--tokenizer", "bytes", "--seed", "99999999999999999999"], ["--seed"]),
    (["generate", "--checkpoint", "{model}", "--tokenizer", "bytes", "--top-k", "99999999999999999999"], ["--top-k"]),
    (["generate", "--checkpoint", "{model}", "--tokenizer", "bytes", "--temperature", "inf"], ["--temperature", "inf"]),
    (["generate", "--checkpoint", "{small}"], ["tokenizer"]),
    (["generate", "--checkpoint", "{small}", "--tokenizer", "bytes"], ["256", "64"]),
    (["generate", "--checkpoint", "{model}", "--tokenizer", "bpe"], ["bpe"]),
    (["tokenize", "--out", "{run}"], ["--input"]),
    (["tokenize", "--format", "text", "--input", "{config}"], ["--out"]),
    (["tokenize", "--input", "{folder}/none.txt", "--out", "{run}"], ["none.txt"]),
    (["tokenize", "--format", "text", "--input", "{config}", "{folder}/none.txt", "--out", "{run}"], ["none.txt"]),
    (["tokenize", "--input", "{folder}", "--out", "{run}"], ["metrics.jsonl: line 1: wanted a string"]),
    (["tokenize", "--input", "{folder}/empty.txt", "--out", "{run}"], ["empty.txt", "no text"]),
    (["tokenize", "--format", "text", "--input", "{config}", "--out", "{run}", "--tokenizer", "bpe"], ["bpe"]),
    (["tokenize", "--format", "text", "--input", "{config}", "--out", "{run}", "--tokenizer", "{folder}/none.json"], ["none.json"]),
    (["tokenize", "--format", "text", "--input", "{config}", "--out", "{run}", "--prefix", "a/b"], ["a/b"]),
    (["tokenize", "--format", "text", "--input", "{config}", "--out", "{run}", "--shard-tokens", "0"], ["--shard-tokens"]),
    (["tokenize", "--format", "text", "--input", "{config}", "--out", "{run}", "--dtype", "uint8"], ["--dtype", "uint8"]),
    (["tokenize", "--format", "text", "--input", "{config}", "--out", "{tokens}"], ["exists already"]),
    (["tokenize", "--format", "text", "--input", "{config}", "--out", "{config}"], ["config.json"]),
    (["inspect"], ["PATH"]),
    (["inspect", "{folder}/none"], ["none"]),
    (["schema", "extra"], ["extra"]),
    (["bench", "step", "{folder}/none.json"], ["none.json"]),
    (["bench", "step", "{config}", "--steps", "0"], ["--steps"]),
    (["bench", "kernels"], ["CONFIG"]),
    (["bench", "kernels", "{config}", "--only", "atention_fwd"], ["atention_fwd", "attention_fwd"]),
    (["bench", "kernels", "{config}", "--only", "rope_fill"], ["--only", "calls none"]),
    (["bench", "kernels", "{config}", "--seq-len", "64,0"], ["--seq-len"]),
    (["bench", "kernels", "{config}", "--device", "tpu"], ["--device", "tpu"]),
]

SHARDS = [  # contents, phrases; "{}" is the shard's path
    (b"", ["{}", "0 bytes"]),
    (shard_bytes(TOKENS)[:100], ["{}", "100 bytes"]),
    (shard_bytes(TOKENS)[:-1], ["{}", "2024 bytes", "2023", "cut short"]),
    (shard_bytes(TOKENS)[:1024], ["{}", "cut short"]),
    (shard_bytes(TOKENS) + b"\0", ["{}", "too long"]),
    (shard_bytes(TOKENS, claim=501), ["{}", "n_tokens 501", "cut short"]),
    (shard_bytes(TOKENS, claim=499), ["{}", "n_tokens 499", "too long"]),
    (shard_bytes(TOKENS, claim=2147483647), ["{}", "n_tokens 2147483647", "cut short"]),
    (shard_bytes(TOKENS, claim=-1), ["{}", "n_tokens -1"]),
    (shard_bytes(TOKENS, claim=0), ["{}", "n_tokens 0", "too long"]),
    (shard_bytes([]), ["too short", "0 tokens"]),
    (shard_bytes(TOKENS[:32]), ["too short", "32 tokens", "33"]),
    (shard_bytes(TOKENS, magic=20240521), ["{}", "20240521", "20240520"]),
    (shard_bytes(TOKENS, version=2), ["{}", "version 2"]),
    (shard_bytes(TOKENS, magic=20240801, version=7), ["{}", "cut short"]),
    (shard_bytes(TOKENS, wide=True), ["{}", "too long"]),
    (shard_bytes(TOKENS[:77] + [VOCAB] + TOKENS), ["{}: token 256 at offset 77"]),
    (shard_bytes(TOKENS + [65535]), ["{}: token 65535 at offset 500"]),
    (shard_bytes([4294967295] + TOKENS, magic=20240801, version=7, wide=True), ["{}: token 4294967295 at offset 0"]),
    (b"{" + b"\n" * 5000, ["{}", "not a token shard"]),
]


class Inputs(Refusals):
    def test_what_the_rows_break_is_accepted_whole(self):
        for kind in harness.ATTENTION:
            self.train(tiny_config(kind), "--set", "train.steps=5")
        folder = self.weights_folder()
        self.run_ok("train", self.config, "--run-dir", self.fresh(), "--init-from", folder)
        self.run_ok("eval", "--checkpoint", folder, "--data", self.folder / "val.bin")
        harness.write_shard(self.folder / "small.bin", TOKENS)
        self.train(tiny_config("mha", data={"train": "small.bin", "val": "small.bin"}))

    def test_bad_configs(self):
        for kind, patch, phrases in CONFIGS:
            with self.subTest(kind=kind, patch=patch):
                self.train_refused(phrases, self.write_config(tiny_config(kind, **patch)))

    def test_configs_that_are_no_configs(self):
        for text, phrases in TEXTS:
            with self.subTest(text=text[:40]):
                self.train_refused(phrases, self.write_config(text))

    def test_bad_overrides(self):
        for override, phrases in OVERRIDES:
            with self.subTest(override):
                self.train_refused(phrases, self.config, "--set", override)

    def test_bad_arguments(self):
        for words, phrases in ARGUMENTS:
            with self.subTest(" ".join(words)):
                run = self.fresh()
                self.refused(phrases, *(word.format(run=run, **self.places) for word in words), run=run)

    def test_a_config_that_names_a_device_this_build_has_not(self):
        if "cuda" in self.run_ok("train", self.config, "--run-dir", self.fresh()).err:
            self.skipTest("this machine has it")
        self.train_refused(["cuda"], self.config, "--device", "cuda")
        self.train_refused(["cuda"], self.config, "--gpus", "1")
        self.train_refused(["--gpus", "--ranks"], self.config, "--gpus", "2", "--ranks", "2")

    def test_a_model_larger_than_the_machine_is_refused_with_advice(self):
        large = tiny_config("mha", model={"n_layer": 1000, "d_model": 8192, "mlp": {"hidden": 32768}})
        self.train_refused(["does not fit", "bytes"], self.write_config(large))
        wide = tiny_config("mha", train={"micro_batch": 1048576, "grad_accum": 1})
        self.train_refused(["does not fit", "train.micro_batch", "would fit"], self.write_config(wide))

    def test_an_unreadable_config_is_named(self):
        path = self.write_config(tiny_config("mha"))
        path.chmod(0)
        if os.access(path, os.R_OK):
            self.skipTest("this user may read anything")
        self.train_refused([path.name, "Permission denied"], path)


class Data(Refusals):
    def test_bad_shards(self):
        for number, (content, phrases) in enumerate(SHARDS):
            shard = self.folder / f"bad_{number}.bin"
            shard.write_bytes(content)
            named = [phrase.format(shard) for phrase in phrases]
            for place in ("train", "val"):
                with self.subTest(phrases=phrases, place=place):
                    config = self.write_config(tiny_config("mha", data={place: shard.name}))
                    self.train_refused(named, config)
            with self.subTest(phrases=phrases, place="eval"):
                self.refused(named, "eval", "--checkpoint", self.checkpoint, "--data", shard)

    def test_one_bad_shard_among_good_ones(self):
        for number in range(3):
            harness.write_shard(self.folder / f"many_{number}.bin", sample_tokens(500, seed=number))
        bad = self.folder / "many_1.bin"
        bad.write_bytes(bad.read_bytes()[:-2])
        config = self.write_config(tiny_config("mha", data={"train": "many_*.bin"}))
        self.train_refused([str(bad), "cut short"], config)

    def test_a_shard_that_is_a_fifo_does_not_hang(self):
        os.mkfifo(self.folder / "pipe.bin")
        config = self.write_config(tiny_config("mha", data={"train": "pipe.bin"}))
        self.train_refused(["pipe.bin", "not a regular file"], config)


class Count(AppTest):
    def test_the_tables_hold_far_more_than_forty_rows(self):
        self.assertGreaterEqual(sum(map(len, (CONFIGS, TEXTS, OVERRIDES, ARGUMENTS, SHARDS))), 60)


if __name__ == "__main__":
    harness.main()
