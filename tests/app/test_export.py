#!/usr/bin/env python3
"""`saslm export`: what it writes, what it refuses; and, if PyTorch and transformers are installed, that transformers
loads the same model: equal loss and text.
"""
import array
import json
import shutil
import unittest

import hub  # first: it may choose another Python
import harness
from harness import GOLDEN, MACHINE, USER, checkpoints, read_safetensors, tiny_config
from hub import FIXTURES, GPT2, LLAMA, MISSING, Exporting, Loading, config_of

if not MISSING:
    import torch
    import transformers

GOLDEN_MODELS = sorted(path.parent.name for path in GOLDEN.glob("*/model.safetensors"))
LLAMAS = {"mha_rope"}  # of the golden models; the others have other parts, or heads whose number does not divide d_model


class Export(Exporting):
    def test_a_run_with_a_class_of_transformers_gets_that(self):
        run = self.train(tiny_config("gqa", train={"steps": 5}))
        out, told = self.bare(run)
        self.assertEqual(told["class"], "LlamaForCausalLM")
        self.assertEqual(told["checkpoint"], str(checkpoints(run)[-1]))
        self.assertEqual(told["out"], str(out.resolve()))
        self.assertEqual(told["files"], sorted(path.name for path in out.iterdir()))
        self.assertEqual(told["files"], ["config.json", "generation_config.json", "model.safetensors"])
        ours, theirs = read_safetensors(checkpoints(run)[-1] / "model.safetensors"), read_safetensors(out / "model.safetensors")
        self.assertEqual(theirs["model.layers.1.self_attn.k_proj.weight"], ours["layers.1.attn.k.weight"])
        self.assertEqual((told["tensors"], told["parameters"]), (len(ours), sum(len(t.data) // 4 for t in ours.values())))

    def test_every_other_model_brings_its_own_class_and_saslm_reads_it_back(self):
        run = self.train(tiny_config("sas", train={"steps": 5}))
        evaluate = ["eval", "--data", self.folder / "val.bin", "--checkpoint"]
        wanted = self.run_json(*evaluate, run)["loss"]
        out, told = self.bare(checkpoints(run)[-1])
        self.assertEqual(told["class"], "SaslmForCausalLM")
        self.assertIn("modeling_saslm.py", told["files"])
        self.assertTrue(any("trust_remote_code" in note for note in told["notes"]), told)
        self.assertEqual(config_of(out)["model"]["attention"]["sas"]["n_sim_head"], 4)
        self.assertEqual(self.run_json(*evaluate, out)["loss"], wanted)
        half, _ = self.bare(out, "--dtype", "bf16")
        self.assertEqual({t.dtype for t in read_safetensors(half / "model.safetensors").values()}, {"BF16"})
        self.assertEqual(config_of(half)["torch_dtype"], "bfloat16")
        self.assertAlmostEqual(self.run_json(*evaluate, half)["loss"], wanted, delta=0.02)  # weights rounded by 2^-9

    def test_the_tokenizer_goes_along(self):
        config = tiny_config(model={"vocab_size": 639}, train={"steps": 5}, eval={"every_steps": 0})
        run = self.train(harness.merged(config, {"data": {"tokenizer": str(FIXTURES / "base.json")}}))
        out, told = self.export(run)
        self.assertEqual((out / "tokenizer.json").read_bytes(), (FIXTURES / "base.json").read_bytes())
        words = json.loads((out / "tokenizer_config.json").read_text())
        self.assertEqual([words[key] for key in ("eos_token", "pad_token", "padding_side")], ["<|endoftext|>"] * 2 + ["left"])
        self.assertIsInstance(config_of(out)["eos_token_id"], int)
        self.assertIsNone(config_of(out)["pad_token_id"])  # Llama's class would leave that row without a gradient
        generation = json.loads((out / "generation_config.json").read_text())
        self.assertEqual(generation["pad_token_id"], config_of(out)["eos_token_id"])
        self.assertEqual(told["warnings"], [])
        self.refused(USER, "--checkpoint", run, "--out", self.fresh(), "--tokenizer", "bytes",
                     phrases=["two tokenizers", "base.json"])  # in place of the one it was trained with

    def test_a_vocabulary_larger_than_the_tokenizers_is_named(self):
        run = self.train(tiny_config(model={"vocab_size": 639}, train={"steps": 5}, eval={"every_steps": 0}))
        out, told = self.export(run, "--tokenizer", "bytes")
        self.assertEqual(config_of(out)["eos_token_id"], 0)
        warning, = told["warnings"]
        for phrase in ("639", "256", "range(383)", "CTranslate2"):
            self.assertIn(phrase, warning)
        done = self.run_ok("export", "--checkpoint", run, "--out", self.fresh(), "--tokenizer", "bytes")
        self.assertIn("warning: " + warning, done.err)

    def test_a_tokenizer_with_tokens_that_the_model_has_not_is_refused(self):
        run, out = self.train(tiny_config(train={"steps": 5})), self.fresh("out")
        self.refused(USER, "--checkpoint", run, "--out", out, "--tokenizer", "bytes", phrases=["256", "64", "--no-tokenizer"])
        self.assertFalse(out.exists())

    def test_without_its_tokenizer_an_export_must_be_told_so(self):
        run, out, lost = self.train(tiny_config(train={"steps": 5})), self.fresh("out"), self.fresh("lost")
        shutil.copytree(GOLDEN / "sas_k5", lost)
        (lost / "config.json").write_text(json.dumps({**config_of(lost), "data": {"train": "none", "tokenizer": "/no/such.json"}}))
        told = ["--tokenizer FILE", "--no-tokenizer"]
        self.refused(USER, "--checkpoint", run, "--out", out, phrases=["not known which tokenizer", *told])
        self.refused(USER, "--checkpoint", lost, "--out", out, phrases=["/no/such.json", *told])
        self.refused(USER, "--checkpoint", run, "--out", out, "--tokenizer", self.folder / "none", phrases=["none", "--no-tokenizer"])
        self.refused(USER, "--checkpoint", run, "--out", out, "--no-tokenizer", "--tokenizer", "bytes", phrases=["--tokenizer"])
        self.assertFalse(out.exists())
        out, told = self.export(lost, "--no-tokenizer")
        self.assertEqual([name for name in told["files"] if "token" in name], [])
        self.assertIsNone(config_of(out)["eos_token_id"])

    def test_a_tokenizer_that_is_gone_is_in_the_checkpoint(self):
        gone = self.fresh("tokenizer")
        shutil.copy(FIXTURES / "base.json", gone)
        run = self.train(tiny_config(model={"vocab_size": 639}, data={"tokenizer": str(gone)}, train={"steps": 5}))
        gone.unlink()
        out, told = self.export(run)
        self.assertEqual((out / "tokenizer.json").read_bytes(), (FIXTURES / "base.json").read_bytes())
        self.refused(USER, "--checkpoint", run, "--out", self.fresh(), "--tokenizer", gone, phrases=[str(gone)])

    def test_what_is_there_is_not_touched(self):
        full, empty, file = self.fresh("full"), self.fresh("empty"), self.fresh("file")
        full.mkdir(), empty.mkdir()
        (full / "thesis.txt").write_text("all of it")
        file.write_text("a file")
        model = ["--no-tokenizer", "--checkpoint", GOLDEN / "sas_k5", "--out"]
        self.refused(USER, *model, full, phrases=[str(full), "empty"])
        self.assertEqual([path.name for path in full.iterdir()], ["thesis.txt"])
        self.refused(USER, *model, file, phrases=[str(file)])
        self.assertEqual(file.read_text(), "a file")
        self.run_ok("export", *model, f"{empty}/")
        self.assertTrue((empty / "model.safetensors").exists())
        self.refused(USER, *model, empty, phrases=["empty"])
        self.run_ok("export", *model, empty / "new" / "and_new")
        self.assertEqual([path for path in self.folder.rglob("*.tmp_*")], [])

    def test_bad_words_and_damaged_models_are_refused_before_anything_is_made(self):
        out, good = self.fresh("out"), GOLDEN / "mha_rope"
        self.refused(USER, "--checkpoint", good)
        self.refused(USER, "--out", out)
        self.refused(USER, "--checkpoint", good, "--out", out, "--format", "gguf", phrases=["hf"])
        self.refused(USER, "--checkpoint", good, "--out", out, "--dtype", "fp16", phrases=["bf16"])
        self.refused(USER, "--checkpoint", self.folder, "--out", out, phrases=["no model here"])
        damaged = self.fresh("damaged")
        shutil.copytree(checkpoints(self.train(tiny_config(train={"steps": 5})))[-1], damaged)
        raw = bytearray((damaged / "model.safetensors").read_bytes())
        raw[-5] ^= 4
        (damaged / "model.safetensors").write_bytes(raw)
        self.refused(USER, "--no-tokenizer", "--checkpoint", damaged, "--out", out, phrases=["damaged", "tensor"])
        self.assertFalse(out.exists())

    def test_a_folder_that_cannot_be_made_is_the_machines_fault(self):
        self.refused(MACHINE, "--no-tokenizer", "--checkpoint", GOLDEN / "mha_rope", "--out", "/proc/saslm/out", phrases=["/proc/saslm"])


@unittest.skipIf(MISSING, MISSING)
class Loaded(Loading):
    def assert_same_text(self, folder, model, context):
        """The most likely bytes after a prompt, until the context is full."""
        prompt, count = b"ab", context - 2
        ours = self.likeliest(folder, prompt, count)
        model.generation_config.eos_token_id = None  # saslm does not stop there
        for cached in (True, False):
            tokens = model.generate(torch.tensor([list(prompt)]), max_new_tokens=count, do_sample=False, pad_token_id=0,
                                    use_cache=cached)
            self.assertEqual(bytes(tokens[0].tolist()), ours)

    def test_a_cache_that_is_asked_for_is_made(self):
        model = self.load(self.bare(GOLDEN / "sas_k5")[0])
        tokens = torch.tensor([[5, 9, 2, 7, 1]])
        with torch.no_grad():
            first = model(tokens[:, :3], use_cache=True)
            rest = model(tokens[:, 3:], past_key_values=first.past_key_values)
            self.assertLess((rest.logits - model(tokens).logits[:, 3:]).abs().max(), 1e-5)
        self.assertIsNone(model(tokens).past_key_values)

    def test_every_golden_model_has_saslms_loss_and_the_same_model_over_bytes_its_text(self):
        for name in GOLDEN_MODELS:
            with self.subTest(model=name):
                given = GOLDEN / name
                wanted = self.run_json("eval", "--checkpoint", given, "--data", GOLDEN / "data" / "val.bin")
                config = self.golden.read_config(given / "config.json")
                samples = self.golden.read_samples(config, config.data["val"])
                self.assertEqual(len(samples), wanted["sequences"])
                out, told = self.bare(given)
                self.assertEqual(told["class"], "LlamaForCausalLM" if name in LLAMAS else "SaslmForCausalLM")
                self.assert_same_loss(self.load(out), samples, wanted["loss"])
                folder = self.drawn({**config_of(given)["model"], "vocab_size": 256})
                out, _ = self.export(folder)
                self.assert_same_text(folder, self.load(out), config.model.max_seq_len)

    def test_classes_of_transformers_with_and_without_biases_and_ties(self):
        stream = harness.sample_tokens(32 * 12 + 1, seed=3, vocab=256)
        harness.write_shard(self.folder / "bytes.bin", stream)
        tokens = torch.tensor([stream[32 * i:32 * i + 33] for i in range(12)])
        for architecture, model in {"GPT2LMHeadModel": GPT2, "LlamaForCausalLM": LLAMA}.items():
            for bias, tie in ((True, True), (False, False)):
                with self.subTest(architecture=architecture, bias=bias, tie=tie):
                    folder = self.drawn(model | {"bias": bias, "tie_embeddings": tie})
                    wanted = self.run_json("eval", "--checkpoint", folder, "--data", self.folder / "bytes.bin")["loss"]
                    out, told = self.export(folder)
                    self.assertEqual(told["class"], architecture)
                    loaded = self.load(out)
                    self.assert_same_loss(loaded, tokens, wanted)
                    self.assert_same_text(folder, loaded, 32)

    def test_padding_on_either_side_changes_neither_logits_nor_text(self):
        for name in ("mla_sas", "moh_authors", "gqa_learned", "gqa_window", "sas_window"):
            model = self.load(self.bare(GOLDEN / name)[0])
            tokens = torch.tensor([[5, 9, 2, 33, 7]])
            with torch.no_grad():
                wanted = model(tokens).logits
                for pads in ((3, 0), (0, 3)):
                    padded = torch.nn.functional.pad(tokens, pads)
                    mask = torch.nn.functional.pad(torch.ones_like(tokens), pads)
                    got = model(padded, attention_mask=mask).logits[:, pads[0]:pads[0] + 5]
                    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
            short, long = [list(range(7, 10)), list(range(20, 28))]
            both = torch.tensor([[0] * 5 + short, long]), torch.tensor([[0] * 5 + [1] * 3, [1] * 8])
            for cached in (True, False):
                greedy = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "use_cache": cached}
                got = model.generate(both[0], attention_mask=both[1], **greedy)[:, 8:].tolist()
                alone = [model.generate(torch.tensor([one]), **greedy)[0, len(one):].tolist() for one in (short, long)]
                self.assertEqual(got, alone)

    def test_labels_give_the_loss_and_gradients_flow_to_every_weight(self):
        model = self.load(self.bare(GOLDEN / "moh_sas")[0])
        tokens = torch.tensor(harness.sample_tokens(34, seed=4, vocab=61)).view(2, 17)
        loss = model(tokens, labels=tokens).loss
        loss.backward()
        self.assertAlmostEqual(loss.item(), self.mean_loss(model, tokens), places=5)
        self.assertEqual([name for name, weight in model.named_parameters() if weight.grad is None], [])
        model(tokens, labels=tokens, return_dict=False)[0].backward()
        self.assertEqual(len(model(tokens, output_hidden_states=True).hidden_states), 3)

    def test_bf16_weights_load_as_such(self):
        out, _ = self.bare(GOLDEN / "tpa_sas", "--dtype", "bf16")
        exact = self.load(self.bare(GOLDEN / "tpa_sas")[0])
        model = self.load(out, torch_dtype="auto")
        self.assertEqual({weight.dtype for weight in model.parameters()}, {torch.bfloat16})
        for name, weight in exact.named_parameters():
            self.assertTrue(torch.equal(weight.bfloat16(), model.get_parameter(name)), name)
        with torch.no_grad():
            self.assertTrue(model(torch.tensor([[1, 2, 3]])).logits.isfinite().all())

    def test_a_pipeline_finds_model_and_tokenizer(self):
        out, _ = self.export(self.drawn(tiny_config("sas")["model"] | {"vocab_size": 256}))
        pipe = transformers.pipeline("text-generation", model=str(out), trust_remote_code=True)
        told = pipe("Once", max_new_tokens=5, do_sample=False)[0]["generated_text"]
        self.assertTrue(told.startswith("Once"), told)

    def test_bytes_are_the_ids(self):
        out, _ = self.export(self.drawn(tiny_config("sas")["model"] | {"vocab_size": 256}))
        tokenizer = transformers.AutoTokenizer.from_pretrained(out, trust_remote_code=True)
        text = "The mill — Ā, é, 語,\tand\r\n  two  spaces .\0next"
        told = tokenizer(text)
        self.assertEqual(told["input_ids"], list(text.encode()))
        self.assertEqual(sorted(told), ["attention_mask", "input_ids"])
        self.assertEqual(tokenizer.decode(told["input_ids"]), text)
        self.assertEqual((tokenizer.eos_token_id, len(tokenizer)), (0, 256))

    def test_byte_pairs_are_saslms(self):
        text = "the quick brown fox, it's 1999\n\n  <|endoftext|>\nA loaf of bread. — Ā"
        for file, text in {"base.json": text, "encoder.json": text.replace("<|endoftext|>", "")}.items():
            with self.subTest(file=file):
                (self.folder / "text.txt").write_text(text)
                folder = self.drawn(tiny_config()["model"] | {"vocab_size": 700}, FIXTURES / file)
                out, _ = self.export(folder)
                tokens = self.fresh("tokens")
                self.run_ok("tokenize", "--input", self.folder / "text.txt", "--tokenizer", FIXTURES / file, "--out", tokens,
                            "--separator", "")
                wanted = array.array("H", next(tokens.glob("*.bin")).read_bytes()[1024:]).tolist()
                tokenizer = transformers.AutoTokenizer.from_pretrained(out, trust_remote_code=True)
                self.assertEqual(tokenizer(text)["input_ids"], wanted)
                self.assertEqual(tokenizer.decode(wanted), text)
                self.assertEqual(tokenizer.eos_token_id, config_of(out)["eos_token_id"])


if __name__ == "__main__":
    harness.main()
