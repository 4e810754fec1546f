#!/usr/bin/env python3
"""`saslm import`: what it refuses, that importing an export is bit-identical; and, if PyTorch and transformers are
installed, that saslm computes the logits of models made by transformers.

How: a prompt's likelihood under saslm is `saslm eval` of one window, so that a window whose last token varies gives the logits after
the rest, but for a constant: all of them are compared.
"""
import array
import json
import math
import os
import shutil
import unittest

import hub  # first: it may choose another Python
import harness
from harness import DONE, GOLDEN, USER, Tensor, checkpoints, read_safetensors, safetensors_bytes, saslm, tiny_config
from hub import FIXTURES, GPT2, LLAMA, MISSING, Exporting, Loading, config_of

if not MISSING:
    import torch
    import transformers


def numbers(*shape, seed=1):
    count = math.prod(shape)
    return Tensor("F32", list(shape), array.array("f", [math.sin(seed + 0.7 * i) / 3 for i in range(count)]).tobytes())


def tiny_llama():
    """The folder of a small model: its config.json and its tensors."""
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 8,
              "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
              "hidden_act": "silu", "max_position_embeddings": 16, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
              "tie_word_embeddings": False, "torch_dtype": "float32", "use_cache": True, "attention_dropout": 0.0}
    at = "model.layers.0."
    shapes = {"model.embed_tokens": (64, 8), at + "input_layernorm": (8,), at + "self_attn.q_proj": (8, 8),
              at + "self_attn.k_proj": (4, 8), at + "self_attn.v_proj": (4, 8), at + "self_attn.o_proj": (8, 8),
              at + "post_attention_layernorm": (8,), at + "mlp.gate_proj": (12, 8), at + "mlp.up_proj": (12, 8),
              at + "mlp.down_proj": (8, 12), "model.norm": (8,), "lm_head": (64, 8)}
    return config, {name + ".weight": numbers(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}


class Importing(Exporting):
    def make(self, config, tensors):
        folder = self.fresh("hub")
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        if tensors is not None:
            (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors))
        return folder

    def importing(self, folder, *args):
        out = self.fresh("imported")
        return out, self.run_json("import", "--from", folder, "--out", out, *args)

    def refused_by_name(self, folder, *phrases):
        out = self.fresh("refused")
        self.refused(USER, "--from", folder, "--out", out, phrases=phrases, command="import")
        self.assertFalse(out.exists())
        self.assertEqual(list(self.folder.glob("*.tmp_*")), [])


class Import(Importing):
    def test_a_model_becomes_one_that_every_command_takes(self):
        config, tensors = tiny_llama()
        out, told = self.importing(self.make(config, tensors))
        self.assertEqual((told["class"], told["tokenizer"]), ("LlamaForCausalLM", None))
        self.assertEqual(told["files"], ["config.json", "model.safetensors"])
        self.assertEqual(told["model"], config_of(out)["model"])
        self.assertEqual(told["model"]["attention"]["kind"], "mqa")
        self.assertEqual(told["parameters"], sum(math.prod(tensor.shape) for tensor in tensors.values()))
        ours = read_safetensors(out / "model.safetensors")
        self.assertEqual(ours["layers.0.attn.k.weight"], tensors["model.layers.0.self_attn.k_proj.weight"])
        self.assertEqual(self.run_json("eval", "--checkpoint", out, "--data", self.folder / "val.bin")["seq_len"], 16)
        again = self.run_json("export", "--checkpoint", out, "--out", self.fresh("back"), "--no-tokenizer")
        self.assertEqual(read_safetensors(f"{again['out']}/model.safetensors"), tensors)
        run = self.fresh()
        trained = tiny_config(model=config_of(out)["model"], train={"steps": 5, "seq_len": 16})
        trained["model"] = config_of(out)["model"]
        self.run_ok("train", self.write_config(trained), "--run-dir", run, "--init-from", out)
        first = harness.events(run, "eval")[0]["val_loss"]
        loss = self.run_json("eval", "--checkpoint", out, "--data", self.folder / "val.bin", "--max-sequences", 8)["loss"]
        self.assertAlmostEqual(first, loss, delta=0.05)  # of other sequences, maybe; an untrained model is far off
        short, _ = self.importing(self.make(config, tensors), "--max-seq-len", 8)
        self.assertEqual(config_of(short)["model"]["max_seq_len"], 8)

    def test_exports_come_back_bit_for_bit(self):
        block = tiny_config("gqa")["model"]
        learned = {**GPT2, "vocab_size": 64}
        for model in (block, {**block, "tie_embeddings": False, "bias": True}, learned, {**learned, "tie_embeddings": False, "bias": True}):
            run = checkpoints(self.train(tiny_config(train={"steps": 5}) | {"model": model}))[-1]
            out, told = self.bare(run)
            self.assertIn(told["class"], ("LlamaForCausalLM", "GPT2LMHeadModel"))
            back, _ = self.importing(out)
            self.assertEqual(read_safetensors(back / "model.safetensors"), read_safetensors(run / "model.safetensors"))
            self.assertEqual(config_of(back)["model"], config_of(run)["model"])
        half, _ = self.bare(run, "--dtype", "bf16")
        widened = read_safetensors(self.importing(half)[0] / "model.safetensors")
        exact = read_safetensors(run / "model.safetensors")
        for name, tensor in widened.items():
            bits = zip(tensor.floats(), exact[name].floats(), strict=True)
            self.assertTrue(all(abs(a - b) <= abs(b) / 256 + 1e-30 for a, b in bits), name)

    def test_the_tokenizer_comes_along(self):
        config, tensors = tiny_llama()
        config["vocab_size"] = 639
        tensors["model.embed_tokens.weight"] = tensors["lm_head.weight"] = numbers(639, 8)
        folder = self.make(config, tensors)
        shutil.copy(FIXTURES / "base.json", folder / "tokenizer.json")
        out, told = self.importing(folder)
        self.assertEqual(told["tokenizer"], str(out.resolve() / "tokenizer.json"))
        self.assertEqual((out / "tokenizer.json").read_bytes(), (FIXTURES / "base.json").read_bytes())
        self.assertEqual(self.run_json("generate", "--checkpoint", out, "--prompt", "the", "--tokens", 3)["tokens"], 3)
        (folder / "tokenizer.json").unlink()
        shutil.copy(FIXTURES / "encoder.json", folder / "vocab.json")
        shutil.copy(FIXTURES / "vocab.bpe", folder / "merges.txt")
        self.assertEqual(self.importing(folder)[1]["files"], ["config.json", "merges.txt", "model.safetensors", "vocab.json"])
        (folder / "vocab.json").unlink(), (folder / "merges.txt").unlink()
        (folder / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
        out, told = self.importing(folder)
        self.assertEqual((told["tokenizer"], told["files"]), (None, ["config.json", "model.safetensors"]))
        self.assertTrue(any("does not support" in note for note in told["notes"]), told)
        run = self.train(tiny_config(model={"vocab_size": 256}, data={"tokenizer": "bytes"}, train={"steps": 5}))
        self.assertEqual(self.importing(self.export(run)[0])[1]["tokenizer"], "bytes")

    def test_shards_are_read_by_their_index(self):
        config, tensors = tiny_llama()
        folder, names = self.make(config, None), list(tensors)
        files = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
        for file, held in files.items():
            (folder / file).write_bytes(safetensors_bytes({name: tensors[name] for name in held}))
        index = {"metadata": {"total_size": 1}, "weight_map": {name: file for file, held in files.items() for name in held}}
        path = folder / "model.safetensors.index.json"
        path.write_text(json.dumps(index))
        self.assertEqual(read_safetensors(self.importing(folder)[0] / "model.safetensors"),
                         read_safetensors(self.importing(self.make(config, tensors))[0] / "model.safetensors"))
        for name, file, phrase in ((names[0], "model-00002-of-00002.safetensors", "is missing"), (names[0], "../other", "beside it"),
                                   (names[0], "none.safetensors", "not there"), ("more", "model-00002-of-00002.safetensors", "'more'")):
            path.write_text(json.dumps({**index, "weight_map": {**index["weight_map"], name: file}}))
            self.refused_by_name(folder, phrase)
        for text in ("{}", "[1]", '{"weight_map": {"a": 1}}', "{"):
            path.write_text(text)
            self.refused_by_name(folder, "index.json")

    def test_what_saslm_does_not_compute_is_refused_by_its_key(self):
        config, tensors = tiny_llama()
        wrong = {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}, "rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4},
                 "hidden_act": "gelu", "attention_bias": True, "mlp_bias": True, "sliding_window": 8, "use_qk_norm": True,
                 "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "quantization_config": {"bits": 4},
                 "partial_rotary_factor": 0.5, "layer_types": ["sliding_attention"], "num_local_experts": 4,
                 "auto_map": {"AutoModel": "x.Y"}, "something_new": 3, "model_type": "qwen3", "architectures": ["LlamaForTokens"],
                 "hidden_size": 9, "rms_norm_eps": "small", "num_hidden_layers": 0, "num_key_value_heads": 3, "vocab_size": 2 ** 50}
        for key, value in wrong.items():
            with self.subTest(key=key):
                self.refused_by_name(self.make({**config, key: value}, tensors), "config.json", "mlp_bias" if "bias" in key else
                                     "head_dim" if key == "hidden_size!" else key if key not in ("hidden_size", "num_key_value_heads")
                                     else "")
        harmless = {"rope_scaling": None, "sliding_window": None, "layer_types": ["full_attention"], "top_p": 0.9, "id2label": {"0": "x"},
                    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "use_sliding_window": False, "dtype": "float32"}
        self.importing(self.make({**config, **harmless}, tensors))
        gpt2 = {"model_type": "gpt2", "vocab_size": 64, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
        for key, value in {"activation_function": "gelu", "scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True,
                           "add_cross_attention": True, "n_head": 3}.items():
            self.refused_by_name(self.make({**gpt2, key: value}, tensors), key)

    def test_a_pipe_is_no_config_json(self):
        folder = self.make(*tiny_llama())
        (folder / "config.json").unlink()
        os.mkfifo(folder / "config.json")  # to read it is to wait for ever
        self.refused_by_name(folder, "config.json", "not a regular file")

    def test_tensors_that_are_not_as_config_json_says_are_refused_by_name(self):
        config, tensors = tiny_llama()
        name = "model.layers.0.self_attn.k_proj.weight"
        without = {key: tensor for key, tensor in tensors.items() if key != name}
        for changed, *phrases in ((without, name, "is missing", "[4, 8]"),
                                  ({**tensors, name: numbers(8, 8)}, name, "[4, 8]", "[8, 8]"),
                                  ({**tensors, "model.layers.0.self_attn.q_norm.weight": numbers(4)}, "q_norm", "no part"),
                                  ({**tensors, "model.layers.1.mlp.up_proj.weight": numbers(12, 8)}, "layers.1", "no part"),
                                  ({**tensors, name: Tensor("I32", [4, 8], tensors[name].data)}, name, "I32"),
                                  ({**tensors, name: Tensor("F32", [4, 8], tensors[name].data[:-4] + b"\0\0\xc0\x7f")}, name, "finite")):
            self.refused_by_name(self.make(config, changed), *phrases)
        tied = {**config, "tie_word_embeddings": True}
        self.refused_by_name(self.make(tied, tensors), "lm_head.weight", "tie_word_embeddings")
        same = {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"]}
        out, _ = self.importing(self.make(tied, {**same, "model.layers.0.self_attn.rotary_emb.inv_freq": numbers(2)}))
        self.assertNotIn("head.weight", read_safetensors(out / "model.safetensors"))

    def test_other_folders_and_files_are_refused_by_name(self):
        config, tensors = tiny_llama()
        folder = self.make(config, None)
        self.refused_by_name(folder, "no weights here", "model.safetensors")
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x02")
        self.refused_by_name(folder, "pytorch_model.bin", "pickle", "save_pretrained")
        self.refused_by_name(self.folder, "config.json", "save_pretrained")
        self.refused_by_name(self.bare(GOLDEN / "sas_k5")[0], "model_type", "reads this one directly")
        full = self.make(config, tensors)
        self.refused(USER, "--from", full, "--out", full, phrases=["empty"], command="import")
        (full / "config.json").write_text("{")
        self.refused_by_name(full, "config.json")
        self.refused(USER, "--from", full, phrases=["--out"], command="import")
        gpt2 = self.make(*tiny_llama())
        self.assertEqual(saslm("import", "--from", gpt2, "--out", self.fresh(), "--max-seq-len", 99).code, USER)


@unittest.skipIf(MISSING, MISSING)
class Computed(Loading, Importing):
    def made(self, config):
        torch.manual_seed(7)
        model = transformers.AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for name, weight in model.named_parameters():  # wide enough that everything matters
                weight.normal_(1.0 if "norm" in name or ".ln_" in name else 0.0, 0.3).mul_(1 if weight.dim() > 1 else 0.5)
        return model.eval()

    def logits_by_saslm(self, folder, prompt, vocab):
        """After `prompt`, less their log-sum: the log-likelihoods of every token."""
        found = []
        for token in range(vocab):
            harness.write_shard(self.folder / "window.bin", [*prompt, token])
            harness.write_shard(self.folder / "shorter.bin", prompt)
            found.append(self.run_json("eval", "--checkpoint", folder, "--data", self.folder / "window.bin", "--seq-len",
                                       len(prompt))["loss"] * len(prompt))
        before = self.run_json("eval", "--checkpoint", folder, "--data", self.folder / "shorter.bin", "--seq-len",
                               len(prompt) - 1)["loss"] * (len(prompt) - 1)
        return torch.tensor([before - whole for whole in found], dtype=torch.float64)

    def configs(self):
        llama = {"vocab_size": 24, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
                 "max_position_embeddings": 32}
        gpt2 = {"vocab_size": 24, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 32}
        yield "grouped heads", transformers.LlamaConfig(**llama, num_key_value_heads=2, rms_norm_eps=1e-3)
        yield "one key head, tied", transformers.LlamaConfig(**llama, num_key_value_heads=1, tie_word_embeddings=True)
        yield "biases, wide heads", transformers.LlamaConfig(**llama, head_dim=10, attention_bias=True, mlp_bias=True)
        yield "GPT-2, tied", transformers.GPT2Config(**gpt2)
        yield "GPT-2, untied", transformers.GPT2Config(**gpt2, n_inner=48, tie_word_embeddings=False, layer_norm_epsilon=1e-3)

    def test_logits_are_those_of_transformers(self):
        prompt = [5, 9, 2, 7, 1, 3, 3, 8]
        for name, config in self.configs():
            with self.subTest(config=name):
                model, folder = self.made(config), self.fresh("hub")
                model.save_pretrained(folder)
                out, _ = self.importing(folder)
                with torch.no_grad():
                    wanted = model(torch.tensor([prompt])).logits[0, -1].double().log_softmax(-1)
                got = self.logits_by_saslm(out, prompt, 24)
                self.assertLess((got - wanted).abs().max().item(), 1e-4)

    def test_every_form_that_transformers_writes_is_read(self):
        _, config = next(self.configs())
        model, folder = self.made(config), self.fresh("hub")
        model.save_pretrained(folder)
        wanted = read_safetensors(self.importing(folder)[0] / "model.safetensors")
        sharded = self.fresh("sharded")
        model.save_pretrained(sharded, max_shard_size="10KB")
        self.assertTrue((sharded / "model.safetensors.index.json").exists())
        self.assertEqual(read_safetensors(self.importing(sharded)[0] / "model.safetensors"), wanted)
        for dtype in (torch.bfloat16, torch.float16):
            narrow = self.fresh("narrow")
            model.to(dtype).save_pretrained(narrow)
            got = read_safetensors(self.importing(narrow)[0] / "model.safetensors")
            ours = {name: list(tensor.floats()) for name, tensor in got.items()}
            theirs = dict(model.float().named_parameters())
            self.assertEqual(ours["layers.1.mlp.down.weight"], theirs["model.layers.1.mlp.down_proj.weight"].flatten().tolist())
        gpt2 = self.made(list(self.configs())[3][1])
        headless = self.fresh("headless")
        gpt2.transformer.save_pretrained(headless)
        self.assertNotIn("transformer.wte.weight", read_safetensors(headless / "model.safetensors"))
        self.assertEqual(self.importing(headless)[1]["class"], "GPT2LMHeadModel")


if __name__ == "__main__":
    harness.main()
