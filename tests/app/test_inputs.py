"""What `saslm tokenize` reads, how commands refuse other types of files, patterns, and many shards."""
import gzip
import json
import lzma
import os
import random
import resource
import shutil
import struct
import subprocess

from harness import (AppTest, DONE, PATIENCE_S, Tensor, USER, _command, _environment, main, merged, safetensors_bytes,
                     sample_tokens, saslm, shard_bytes, tiny_config, write_shard)
from tokenizing import Tokenizing


def zstd(data):
    """Compressed by the zstd program if installed; else a frame of raw blocks."""
    if shutil.which("zstd"):
        return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout
    blocks = [data[at:at + 65536] for at in range(0, len(data), 65536)] or [b""]
    frame = b"\x28\xb5\x2f\xfd\x00\x58"
    for number, block in enumerate(blocks):
        frame += ((len(block) << 3) | (number == len(blocks) - 1)).to_bytes(3, "little") + block
    return frame


COMPRESSIONS = {"gz": gzip.compress, "zst": zstd, "xz": lzma.compress}


def text_of(folder, prefix="tokens"):
    """The text in the shards of bytes, boundaries shown as '|'."""
    info = json.loads((folder / f"{prefix}.json").read_text())
    data = b"".join((folder / name).read_bytes()[1024:] for name in info["files"])
    return bytes(token for token, in struct.iter_unpack("<H", data)).replace(b"\0", b"|"), info


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def sample_text(size, seed=1):
    draw = random.Random(seed)
    words = ["the", "quick", "brown", "fox", "jumps", "\n", "<|endoftext|>\n", "over", "12"]
    return " ".join(draw.choices(words, k=size // 5)).encode()


class Tokenize(Tokenizing):
    def test_compressed_text_and_lines_are_read_whatever_their_name(self):
        lines = b'{"text": "one", "n": 1}\n{"n": 2, "text": "two"}\n'
        for compress in COMPRESSIONS.values():
            out, _ = self.tokenize("--input", self.write("a.txt", compress(b"pla") + compress(b"in")))
            self.assertEqual(text_of(out)[0], b"plain")
            out, _ = self.tokenize("--input", self.write("a.jsonl", compress(lines)))
            text, info = text_of(out)
            self.assertEqual(text, b"one|two")
            self.assertEqual((info["bytes"], info["documents"], info["boundary_token"]), (6, 2, 0))

    def test_fields_by_name_and_within_objects(self):
        path = self.write("a.jsonl", b'{"content": "x", "meta": {"body": "y"}}\n')
        self.assertEqual(text_of(self.tokenize("--input", path, "--field", "content")[0])[0], b"x")
        self.assertEqual(text_of(self.tokenize("--input", path, "--field", "meta.body")[0])[0], b"y")
        _, said = self.tokenize("--input", path, code=USER)
        for words in (f"{path}: line 1", '"text"', '"content"', "--field"):
            self.assertIn(words, said)

    def test_zstd_that_begins_with_a_skippable_frame(self):
        """As pzstd writes it, which puts one before each other frame."""
        for kind in range(16):
            skip = bytes([0x50 + kind]) + b"\x2a\x4d\x18" + struct.pack("<I", 4) + b"size"
            data = skip + zstd(b"pla") + skip + zstd(b"in")
            out, _ = self.tokenize("--input", self.write("a.txt", data))
            self.assertEqual(text_of(out)[0], b"plain")
        self.assertEqual(text_of(self.tokenize("--input", "-", stdin=data)[0])[0], b"plain")
        _, said = self.tokenize("--input", self.write("a.txt", skip + zstd(b"plain")[:-2]), code=USER)
        self.assertIn("zstd data is cut short", said)

    def test_standard_input_also_compressed(self):
        for data in (b"through a pipe", gzip.compress(b"through a pipe"), b'{"text": "through a pipe"}\n'):
            out, said = self.tokenize("--input", "-", stdin=data)
            self.assertEqual(text_of(out)[0], b"through a pipe")
            self.assertIn("start again", said)
        _, said = self.tokenize("--input", "-", stdin=gzip.compress(b"cut short" * 99)[:-6], code=USER)
        self.assertIn("standard input: the gzip data is cut short", said)

    def test_folders_and_patterns(self):
        folder = self.fresh("folder")
        (folder / "sub").mkdir(parents=True)
        for name in ("b.txt", "a.txt", "sub/c.txt", "notes.md"):
            (folder / name).write_text(name[-5])
        out, said = self.tokenize("--input", folder)
        self.assertEqual(text_of(out)[0], b"a|b|c")
        self.assertIn("3 files", said)
        self.assertIn("notes.md", said)
        self.assertEqual(text_of(self.tokenize("--input", folder / "*.txt")[0])[0], b"a|b")
        _, said = self.tokenize("--input", folder, folder / "a.txt", code=USER)
        self.assertIn("given twice", said)
        (folder / "empty").mkdir()
        _, said = self.tokenize("--input", folder / "empty", code=USER)
        self.assertIn("no files", said)

    def test_what_is_not_text_is_named_and_leaves_nothing(self):
        tar = bytearray(1024)
        tar[:5], tar[257:263] = b"a.txt", b"ustar\0"
        draw = random.Random(3)
        for data, what in {b"PAR1\x15\x00": "parquet", bytes(tar): "tar", b"PK\x03\x04ab": "zip", b"\x80\x04\x95": "pickle",
                           b"\x7fELF\x02\x01": "ELF", b"%PDF-1.7": "PDF", b"\x89PNG\r\n\x1a\n": "PNG",
                           "text".encode("utf-16"): "UTF-16", ("text " * 9).encode("utf-16-le"): "iconv -f UTF-16LE",
                           "text".encode("utf-32"): "UTF-32", b"BZh91AY&SY": "bzip2",
                           bytes(draw.randrange(256) for _ in range(5000)): "binary data",
                           gzip.compress(bytes(tar)): "tar archive inside gzip"}.items():
            out, said = self.tokenize("--input", self.write("a.txt", data), code=USER)
            self.assertIn(what, said)
            self.assertIn("a.txt", said)
            self.assertFalse(out.exists())
        out, said = self.tokenize("--input", self.write("a.txt", b"\xef\xbb\xbfbom"))
        self.assertEqual(text_of(out)[0], b"bom")
        self.assertIn("byte order mark", said)

    def test_damage_ends_it_and_leaves_nothing(self):
        for name, compress in COMPRESSIONS.items():
            whole = compress(sample_text(300_000))
            out, said = self.tokenize("--input", self.write("a.txt", whole[:-3]), code=USER)
            self.assertIn("cut short", said, name)
            self.assertEqual(files_of(out), {})
        damaged = bytearray(gzip.compress(sample_text(300_000)))
        damaged[-6] ^= 1  # of the checksum
        _, said = self.tokenize("--input", self.write("a.txt", bytes(damaged)), code=USER)
        self.assertIn("damaged gzip", said)

    def test_bare_tokens_of_nanogpt(self):
        tokens = sample_tokens(3000, seed=1)
        path = self.write("train.bin", struct.pack(f"<{len(tokens)}H", *tokens))
        out, _ = self.tokenize("--input", path, "--raw", "uint16", "--prefix", "train")
        self.assertEqual((out / "train_000000.bin").read_bytes(), shard_bytes(tokens))
        self.assertFalse((out / "train.json").exists())
        out, _ = self.tokenize("--input", path, "--raw", "uint16", "--tokenizer", "bytes")
        info = json.loads((out / "tokens.json").read_text())
        self.assertEqual((info["tokens"], info["vocab_size"], info["bytes"]), (3000, 256, 3000 - tokens.count(0)))
        wide = self.write("train.bin", struct.pack(f"<{len(tokens)}I", *tokens))
        out, _ = self.tokenize("--input", wide, "--raw", "uint32", "--dtype", "uint16")
        self.assertEqual((out / "tokens_000000.bin").read_bytes(), shard_bytes(tokens))
        _, said = self.tokenize("--input", wide, "--raw", "uint16", code=USER)
        self.assertIn("--raw uint32", said)
        _, said = self.tokenize("--input", self.write("x.bin", struct.pack("<3H", 1, 300, 2)), "--raw", "uint16",
                                "--tokenizer", "bytes", code=USER)
        self.assertIn("token 300 at offset 1 is outside the vocabulary 0 .. 255", said)
        _, said = self.tokenize("--input", path, code=USER)
        self.assertIn("--raw uint16", said)


class Foreign(AppTest):
    """Files of other programs: every command names the type and says what to do."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.config = cls.write_config(tiny_config())
        cls.model = cls.fresh("hf")
        cls.model.mkdir()
        (cls.model / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "hidden_size": 64}))
        (cls.model / "model.safetensors").write_bytes(safetensors_bytes({"w": Tensor("F32", [1], b"\0\0\0\0")}))

    def refused(self, *args, words):
        result = saslm(*args)
        self.assertEqual(result.code, USER, f"{args}: {result.err}")
        for word in words:
            self.assertIn(word, result.err + result.out, args)

    def test_a_hugging_face_model(self):
        data = self.folder / "val.bin"
        for args in (["train", self.model], ["train", self.model / "config.json"], ["plan", self.model / "config.json"],
                     ["train", self.config, "--run-dir", self.fresh(), "--init-from", self.model],
                     ["eval", "--checkpoint", self.model, "--data", data], ["inspect", self.model],
                     ["generate", "--checkpoint", self.model, "--prompt", "x"],
                     ["export", "--checkpoint", self.model, "--out", self.fresh()], ["verify", self.model],
                     ["diff", self.model, self.model], ["inspect", self.model / "config.json"]):
            self.refused(*args, words=["Hugging Face model (LlamaForCausalLM)", "saslm import"])

    def test_bare_tokens(self):
        path = self.fresh("train.bin")
        draw = random.Random(1)
        path.write_bytes(struct.pack("<2000H", *(draw.randrange(480) for _ in range(2000))))
        config = self.write_config(tiny_config(data={"train": str(path)}))
        for args in (["train", config, "--run-dir", self.fresh()], ["inspect", path]):
            self.refused(*args, words=[f"saslm tokenize --input {path} --raw uint16"])

    def test_shards_that_are_something_else(self):
        path = self.fresh("x.bin")
        for data, word in ((b"only text" * 200, "it is text"), (gzip.compress(os.urandom(2000)), "compressed by gzip"),
                           (b"\x93NUMPY" + bytes(2000), "NumPy")):
            path.write_bytes(data)
            self.refused("train", self.config, "--set", f"data.train={path}", "--run-dir", self.fresh(), words=[word])
        self.refused("train", self.config, "--set", f"data.train={self.model}", "--run-dir", self.fresh(),
                     words=["is a folder", "/*.bin"])

    def test_json_with_comments_and_commas(self):
        plain = self.config.read_text()
        commented = self.write_config("{\n// mine\n" + plain.lstrip()[1:])
        comma = self.write_config(plain.rstrip()[:-1] + ",\n}")
        both = self.write_config("/* a\n b */" + plain.rstrip()[:-1] + ", # c\n}")
        for command in (["train"], ["plan"], ["compare"], ["bench", "step"]):
            self.refused(*command, commented, words=["JSON with comments (line 2); saslm reads plain JSON: remove them"])
        last = plain.rstrip().count("\n") + 1
        self.refused("plan", comma, words=[f"a comma before a closing bracket (line {last})", "remove it"])
        self.refused("plan", both, words=["comments (line 1) and a comma", f"(line {last + 1})"])
        self.refused("plan", self.write_config('{"a": "// no comment", }x'), words=["parse error"])


class Patterns(AppTest):
    def make(self, name, count=2000):
        folder = self.place / name
        folder.mkdir(parents=True)
        write_shard(folder / "train_000000.bin", sample_tokens(count, seed=count))
        write_shard(folder / "val_000000.bin", sample_tokens(600, seed=3))
        config = merged(tiny_config(train={"steps": 6}), {"data": {"train": "train_*.bin", "val": "val_*.bin"}})
        (folder / "c.json").write_text(json.dumps(config))
        return folder

    def test_the_configs_folder_is_no_pattern(self):
        self.place = self.fresh("place")
        self.make("run1", 4000)
        for name in ("exp [v2]", "run*", "a\\b"):
            folder = self.make(name)
            run = folder / "runs"
            said = self.run_ok("train", folder / "c.json", "--run-dir", run).err
            self.assertIn("data.train: 1 shard, 2000 tokens", said)
            self.run_ok("verify", run)
            self.run_ok("train", folder / "c.json", "--run-dir", run, "--set", "train.steps=8")
            out = self.run_json("eval", "--checkpoint", run, "--data", "val_*.bin", cwd=folder)
            self.assertIn("loss", json.dumps(out))

    def test_a_comparison_in_such_a_folder(self):
        self.place = self.fresh("place")
        self.make("run1", 4000)
        folder = self.make("run*")
        (folder / "cmp.json").write_text(json.dumps(
            {"base": "c.json", "variants": [{"name": "a"}, {"name": "b", "set": {"optim.lr": 0.001}}], "seeds": [1],
             "baseline": "a", "budget": "tokens", "eval_points": 2}))
        self.run_ok("compare", folder / "cmp.json", "--run-dir", folder / "out")
        config = json.loads((next((folder / "out" / "runs").iterdir()) / "config.json").read_text())
        self.assertIn("run\\*/train_*.bin", json.dumps(config["data"]["train"]).replace("\\\\", "\\"))


class Shards(AppTest):
    def test_more_shards_than_files_may_be_open(self):
        folder = self.fresh("many")
        folder.mkdir()
        for number in range(3000):
            write_shard(folder / f"train_{number:06d}.bin", sample_tokens(40, seed=number))
        write_shard(folder / "val.bin", sample_tokens(600, seed=3))
        config = folder / "c.json"
        config.write_text(json.dumps(merged(tiny_config(train={"steps": 6}),
                                            {"data": {"train": "train_*.bin", "val": "val.bin"}})))
        states = []
        for soft, hard in ((4096, 4096), (1024, 4096), (256, 256)):
            run = self.fresh()
            done = subprocess.run(_command(["train", config, "--run-dir", run]), capture_output=True, text=True,
                                  env=_environment(None), timeout=PATIENCE_S,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)))
            self.assertEqual(done.returncode, DONE, done.stderr)
            self.assertIn("3000 shards, 120000 tokens", done.stderr)
            states.append((run / "checkpoints" / "step_00000006" / "model.safetensors").read_bytes())
        self.assertEqual(states[0], states[1])
        self.assertEqual(states[0], states[2])

    def test_the_json_beside_shards_is_held_against_them(self):
        folder = self.fresh("info")
        folder.mkdir()
        (folder / "in.txt").write_bytes(sample_text(4000))
        self.run_ok("tokenize", "--input", folder / "in.txt", "--out", folder, "--shard-tokens", 1500)
        info = json.loads((folder / "tokens.json").read_text())
        config = self.write_config(tiny_config(model={"vocab_size": 256}, data={
            "train": str(folder / "tokens_*.bin"), "val": str(folder / "tokens_000000.bin")}))
        run = self.fresh()
        self.run_ok("train", config, "--run-dir", run)
        for change in ({"tokens": 1}, {"tokens": info["tokens"] + 1}, {"vocab_size": 64, "boundary_token": 0},
                       {"files": info["files"][1:]}, {"files": info["files"] + ["tokens_000000.bin"]}):
            (folder / "tokens.json").write_text(json.dumps({**info, **change}))
            for args in (["eval", "--checkpoint", run, "--data", folder / "tokens_*.bin"],
                         ["train", config, "--run-dir", self.fresh()]):
                result = saslm(*args)
                self.assertEqual(result.code, USER, f"{change}: {result.out}")
                self.assertIn(str(folder / "tokens.json"), result.err)
                self.assertIn("tokens_000000.bin", result.err)
        (folder / "tokens.json").write_text(json.dumps(info))
        (folder / "elsewhere").mkdir()
        os.rename(folder / info["files"][-1], folder / "elsewhere" / info["files"][-1])  # a part is kept for validation
        self.run_ok("eval", "--checkpoint", run, "--data", folder / "tokens_*.bin")

    def test_data_that_is_too_short_is_named(self):
        folder = self.fresh("short")
        folder.mkdir()
        for number in range(2):
            write_shard(folder / f"t_{number}.bin", sample_tokens(10 + number, seed=1))
        result = saslm("train", self.write_config(tiny_config(data={"train": str(folder / "t_*.bin")})), "--run-dir",
                       self.fresh())
        self.assertEqual(result.code, USER)
        self.assertIn(f"{folder}/t_1.bin, the longest of 2 shards, has 11 tokens", result.err)


if __name__ == "__main__":
    main()
