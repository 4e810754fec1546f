#!/usr/bin/env python3
"""Weights that are damaged, or of another model, are refused before anything is computed with them."""
import json
import shutil
import struct

import harness
from harness import Tensor, merged
from refusals import Refusals, tiny_config

# ---- Tables: what is wrong, and phrases that stderr must hold.

def weights(change):
    """A row for a function of the tensors, which returns the bytes of the file to be."""
    def damage(folder):
        path = folder / "model.safetensors"
        path.write_bytes(change(harness.read_safetensors(path)))
    return damage


def raw(change):
    def damage(folder):
        path = folder / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))
    return damage


def header(change):
    """A row for a function of the header's JSON; the data stay as they are."""
    def rewrite(old):
        length, = struct.unpack_from("<Q", old)
        parsed = json.loads(old[8:8 + length])
        text = change(parsed)
        text = (json.dumps(parsed) if text is None else text).encode()
        return struct.pack("<Q", len(text)) + text + old[8 + length:]
    return raw(rewrite)


def other_config(**keys):
    def damage(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(merged(json.loads(path.read_text()), {"model": keys})))
    return damage


def text_config(text):
    return lambda folder: (folder / "config.json").write_text(text)


def without(name):
    return lambda folder: (folder / name).unlink()


def folder_instead(name):
    def damage(folder):
        (folder / name).unlink()
        (folder / name).mkdir()
    return damage


def with_tensor(tensors, name, **changes):
    changed = tensors.get(name, Tensor("F32", [2], bytes(8)))._replace(**changes)
    return harness.safetensors_bytes({**tensors, name: changed})


def without_tensor(tensors, name):
    return harness.safetensors_bytes({n: tensor for n, tensor in tensors.items() if n != name})


NORM = "final_norm.weight"
WEIGHTS = [  # what it does to a folder with model.safetensors and config.json, phrases
    ("cut in the data", raw(lambda old: old[:-1]), ["model.safetensors", "bytes of data"]),
    ("cut in the header", raw(lambda old: old[:200]), ["model.safetensors", "truncated"]),
    ("cut in the length", raw(lambda old: old[:5]), ["model.safetensors", "5 bytes"]),
    ("empty", raw(lambda old: b""), ["model.safetensors", "0 bytes"]),
    ("grown", raw(lambda old: old + b"\0"), ["model.safetensors", "grown"]),
    ("garbage", raw(lambda old: bytes(range(256)) * 40), ["model.safetensors"]),
    ("header longer than the file", raw(lambda old: struct.pack("<Q", len(old)) + old[8:]),
     ["model.safetensors", "header"]),
    ("header of 2^64-1", raw(lambda old: b"\xff" * 8 + old[8:]),
     ["model.safetensors", "header", "18446744073709551615"]),
    ("header no JSON", header(lambda h: "{,}"), ["model.safetensors", "header"]),
    ("header a list", header(lambda h: "[]"), ["model.safetensors", "object"]),
    ("header deep", header(lambda h: "[" * 100000), ["model.safetensors", "header"]),
    ("header names twice", header(lambda h: json.dumps(h)[:-1] + f', "{NORM}": 1}}'), ["model.safetensors", NORM]),
    ("offsets overlap", header(lambda h: h[NORM].update(data_offsets=[0, 128])), ["model.safetensors", "overlap"]),
    ("offsets past the end", header(lambda h: h[NORM].update(data_offsets=[10**9, 10**9 + 128])),
     [NORM, "data_offsets"]),
    ("offsets backwards", header(lambda h: h[NORM]["data_offsets"].reverse()), [NORM, "data_offsets"]),
    ("offsets negative", header(lambda h: h[NORM].update(data_offsets=[-128, 0])), [NORM, "data_offsets"]),
    ("shape lies", header(lambda h: h[NORM].update(shape=[33])), [NORM, "[33]", "132 bytes"]),
    ("shape overflows", header(lambda h: h[NORM].update(shape=[2**62, 2**62])), [NORM]),
    ("shape negative", header(lambda h: h[NORM].update(shape=[-32])), [NORM, "shape"]),
    ("dtype unknown", header(lambda h: h[NORM].update(dtype="F99")), [NORM, "F99"]),
    ("dtype a number", header(lambda h: h[NORM].update(dtype=32)), [NORM, "dtype"]),
    ("dtype missing", header(lambda h: h[NORM].pop("dtype") and None), [NORM]),
    ("integers", weights(lambda t: with_tensor(t, NORM, dtype="I32")), [NORM, "F32", "I32"]),
    ("doubles", weights(lambda t: with_tensor(t, NORM, dtype="F64", data=bytes(256))), [NORM, "F32", "F64"]),
    ("another shape", weights(lambda t: with_tensor(t, NORM, shape=[16], data=bytes(64))), [NORM, "[32]", "[16]"]),
    ("another rank", weights(lambda t: with_tensor(t, NORM, shape=[4, 8])), [NORM, "[32]", "[4, 8]"]),
    ("tensor missing", weights(lambda t: without_tensor(t, NORM)), [NORM, "missing"]),
    ("tensor too many", weights(lambda t: with_tensor(t, "layers.9.extra")), ["layers.9.extra"]),
    ("no weights", without("model.safetensors"), ["model.safetensors"]),
    ("no config", without("config.json"), ["config.json"]),
    ("weights a folder", folder_instead("model.safetensors"), ["model.safetensors"]),
    ("config a folder", folder_instead("config.json"), ["config.json"]),
    ("config garbage", text_config("}{"), ["config.json", "line 1"]),
    ("config empty", text_config(""), ["config.json", "empty"]),
    ("config without model", text_config("{}"), ["config.json", "model is missing"]),
    ("config impossible", other_config(n_layer=-1), ["config.json", "model.n_layer"]),
]
OTHER_MODELS = [  # a config.json that is fine but not of these weights, phrases
    (other_config(n_layer=3), ["layers.2", "missing"]),
    (other_config(n_layer=1), ["layers.1"]),
    (other_config(tie_embeddings=False), ["head.weight", "missing"]),
    (other_config(d_model=16), ["[256, 16]", "[256, 32]"]),
    (other_config(attention=harness.ATTENTION["sas"]), ["layers.0.attn.sas."]),
    (other_config(norm={"kind": "layernorm"}), ["norm.bias", "missing"]),
]


class Weights(Refusals):
    def test_the_tables_hold_forty_rows(self):
        self.assertGreaterEqual(len(WEIGHTS) + len(OTHER_MODELS), 40)

    def test_bad_weights(self):
        for name, damage, phrases in WEIGHTS:
            folder = self.weights_folder()
            damage(folder)
            with self.subTest(name, command="train --init-from"):
                self.train_refused(phrases, self.config, "--init-from", folder)
            with self.subTest(name, command="eval"):
                self.refused(phrases, "eval", "--checkpoint", folder, "--data", self.folder / "val.bin")
            with self.subTest(name, command="generate"):
                self.refused(phrases, "generate", "--checkpoint", folder, "--tokenizer", "bytes")

    def test_weights_of_another_model(self):
        for change, phrases in OTHER_MODELS:
            folder = self.weights_folder()
            change(folder)
            patch = {"model": json.loads((folder / "config.json").read_text())["model"]}
            with self.subTest(phrases, command="eval"):
                self.refused(phrases, "eval", "--checkpoint", folder, "--data", self.folder / "val.bin")
            with self.subTest(phrases, command="train --init-from"):
                self.train_refused(phrases, self.write_config({**tiny_config(), **patch}), "--init-from", folder)

    def test_a_damaged_checkpoint_is_not_taken_as_weights(self):
        for name in ("optimizer.safetensors", "state.json", "manifest.json"):
            folder = self.fresh("checkpoint")
            shutil.copytree(self.checkpoint, folder)
            (folder / name).unlink()
            with self.subTest(name):
                self.refused([name], "eval", "--checkpoint", folder, "--data", self.folder / "val.bin")
                self.train_refused([name], self.config, "--init-from", folder)


if __name__ == "__main__":
    harness.main()
