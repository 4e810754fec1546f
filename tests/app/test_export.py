#!/usr/bin/env python3
"""`saslm export`: what it writes, what it refuses; and, where PyTorch and transformers are at hand, that what transformers
loads from there is the model that saslm has: the same loss, the same text.
"""
import array
import json
import shutil
import sys
import unittest
from pathlib import Path

import harness
from harness import GOLDEN, MACHINE, USER, AppTest, checkpoints, read_safetensors, saslm, tiny_config

FIXTURES = Path(__file__).resolve().parent.parent / "data" / "fixtures"
SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"
GOLDEN_MODELS = sorted(path.parent.name for path in GOLDEN.glob("*/model.safetensors"))
LLAMAS = {"mha_rope"}  # of the golden models; the others have other parts, or heads whose number does not divide d_model

try:
    import torch
    import transformers
    import transformers.dynamic_module_utils
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    new = tuple(map(int, transformers.__version__.split(".")[:2])) >= (4, 46)  # from which on Llama has head_dim
    MISSING = None if new else f"needs transformers 4.46 or newer, not {transformers.__version__}"
except ImportError as error:
    MISSING = f"needs PyTorch and transformers: {error}"

SIZES = {"vocab_size": 256, "n_layer": 2, "d_model": 32, "max_seq_len": 32}
LLAMA = {**SIZES, "norm": {"kind": "rmsnorm", "eps": 1e-6}, "mlp": {"kind": "swiglu", "hidden": 48},
         "attention": {"kind": "gqa", "n_head": 4, "head_dim": 10, "n_kv_head": 2, "rope_base": 500.0}}
GPT2 = {**SIZES, "norm": {"kind": "layernorm"}, "mlp": {"kind": "gelu", "hidden": 48},
        "attention": {"kind": "mha", "n_head": 2, "head_dim": 16, "position": "learned"}}


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


class Exporting(AppTest):
    def export(self, checkpoint, *args):
        out = self.fresh("out")
        return out, self.run_json("export", "--checkpoint", checkpoint, "--out", out, *args)

    def refused(self, code, *args, phrases=()):
        done = saslm("export", *args)
        self.assertEqual(done.code, code, done.err)
        for phrase in phrases:
            self.assertIn(phrase, done.err)


class Export(Exporting):
    def test_a_run_with_a_class_of_transformers_gets_that(self):
        run = self.train(tiny_config("gqa", train={"steps": 5}))
        out, told = self.export(run)
        self.assertEqual(told["class"], "LlamaForCausalLM")
        self.assertEqual(told["checkpoint"], str(checkpoints(run)[-1]))
        self.assertEqual(told["out"], str(out.resolve()))
        self.assertEqual(told["files"], sorted(path.name for path in out.iterdir()))
        self.assertEqual(told["files"], ["config.json", "generation_config.json", "model.safetensors"])
        self.assertTrue(any("tokenizer" in note for note in told["notes"]), told)
        ours, theirs = read_safetensors(checkpoints(run)[-1] / "model.safetensors"), read_safetensors(out / "model.safetensors")
        self.assertEqual(theirs["model.layers.1.self_attn.k_proj.weight"], ours["layers.1.attn.k.weight"])
        self.assertEqual((told["tensors"], told["parameters"]), (len(ours), sum(len(t.data) // 4 for t in ours.values())))

    def test_every_other_model_brings_its_own_class_and_saslm_reads_it_back(self):
        run = self.train(tiny_config("sas", train={"steps": 5}))
        evaluate = ["eval", "--data", self.folder / "val.bin", "--checkpoint"]
        wanted = self.run_json(*evaluate, run)["loss"]
        out, told = self.export(checkpoints(run)[-1])
        self.assertEqual(told["class"], "SaslmForCausalLM")
        self.assertIn("modeling_saslm.py", told["files"])
        self.assertTrue(any("trust_remote_code" in note for note in told["notes"]), told)
        self.assertEqual(config_of(out)["model"]["attention"]["sas"]["n_sim_head"], 4)
        self.assertEqual(self.run_json(*evaluate, out)["loss"], wanted)
        half, _ = self.export(out, "--dtype", "bf16")
        self.assertEqual({t.dtype for t in read_safetensors(half / "model.safetensors").values()}, {"BF16"})
        self.assertEqual(config_of(half)["torch_dtype"], "bfloat16")
        self.assertAlmostEqual(self.run_json(*evaluate, half)["loss"], wanted, delta=0.02)  # weights rounded by 2^-9

    def test_the_tokenizer_goes_along(self):
        config = tiny_config(model={"vocab_size": 639}, train={"steps": 5}, eval={"every_steps": 0})
        run = self.train(harness.merged(config, {"data": {"tokenizer": str(FIXTURES / "base.json")}}))
        out, told = self.export(run)
        self.assertEqual((out / "tokenizer.json").read_bytes(), (FIXTURES / "base.json").read_bytes())
        self.assertEqual(json.loads((out / "tokenizer_config.json").read_text())["eos_token"], "<|endoftext|>")
        self.assertIsInstance(config_of(out)["eos_token_id"], int)
        self.refused(USER, "--checkpoint", run, "--out", self.fresh(), "--tokenizer", "bytes",
                     phrases=["two tokenizers", "base.json"])  # in place of the one it was trained with
        bare = self.train(tiny_config(model={"vocab_size": 639}, train={"steps": 5}))
        out, told = self.export(bare, "--tokenizer", "bytes")
        self.assertEqual(config_of(out)["eos_token_id"], 0)
        self.assertTrue(any("256" in note and "639" in note for note in told["notes"]), told)

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
        model = ["--checkpoint", GOLDEN / "sas_k5", "--out"]
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
        self.refused(USER, "--checkpoint", damaged, "--out", out, phrases=["damaged", "tensor"])
        self.assertFalse(out.exists())

    def test_a_folder_that_cannot_be_made_is_the_machines_fault(self):
        self.refused(MACHINE, "--checkpoint", GOLDEN / "mha_rope", "--out", "/proc/saslm/out", phrases=["/proc/saslm"])


@unittest.skipIf(MISSING, MISSING)
class Loaded(Exporting):
    """In float32 on both sides: losses differ by the order of sums."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        torch.set_num_threads(1)
        transformers.dynamic_module_utils.HF_MODULES_CACHE = str(cls.folder / "modules")
        sys.path.insert(0, str(SCRIPTS))
        import make_golden
        cls.golden = make_golden

    def load(self, folder, **how):
        model, told = transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, output_loading_info=True,
                                                                        **how)
        self.assertFalse(told["missing_keys"] or told["unexpected_keys"] or told["mismatched_keys"], told)
        return model.eval()

    def mean_loss(self, model, samples):
        """[n, T + 1] tokens, one more than a call may see."""
        with torch.no_grad():
            logits = torch.cat([model(part[:, :-1]).logits for part in samples.split(16)])
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1).double(), samples[:, 1:].flatten()).item()

    def assert_same_loss(self, model, samples, wanted):
        self.assertLess(abs(self.mean_loss(model, samples) / wanted - 1), 1e-5)

    def drawn(self, model):
        """A folder with that model block and weights wide enough that everything matters."""
        folder = self.fresh("drawn")
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model": model, "data": {"train": "none", "tokenizer": "bytes"}}))
        resolved = self.golden.read_config(folder / "config.json")
        self.golden.write_safetensors(folder / "model.safetensors", self.golden.draw_parameters(resolved.model, seed=5))
        return folder

    def assert_same_text(self, folder, model, context):
        """The likeliest bytes after a prompt, for as long as the context lasts."""
        prompt, count = b"ab", context - 2
        out = self.fresh("text")
        with out.open("wb") as file:
            self.assertEqual(saslm("generate", "--checkpoint", folder, "--prompt", prompt.decode(), "--tokens", count,
                                   "--temperature", 0, stdout=file).code, 0)
        ours = out.read_bytes()[:-1]
        model.generation_config.eos_token_id = None  # saslm does not stop there
        for cached in (True, False):
            tokens = model.generate(torch.tensor([list(prompt)]), max_new_tokens=count, do_sample=False, pad_token_id=0,
                                    use_cache=cached)
            self.assertEqual(bytes(tokens[0].tolist()), ours)

    def test_a_cache_that_is_asked_for_is_made(self):
        model = self.load(self.export(GOLDEN / "sas_k5")[0])
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
                out, told = self.export(given)
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
        for name in ("mla_sas", "moh_authors", "gqa_learned"):
            model = self.load(self.export(GOLDEN / name)[0])
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
        model = self.load(self.export(GOLDEN / "moh_sas")[0])
        tokens = torch.tensor(harness.sample_tokens(34, seed=4, vocab=61)).view(2, 17)
        loss = model(tokens, labels=tokens).loss
        loss.backward()
        self.assertAlmostEqual(loss.item(), self.mean_loss(model, tokens), places=5)
        self.assertEqual([name for name, weight in model.named_parameters() if weight.grad is None], [])
        model(tokens, labels=tokens, return_dict=False)[0].backward()
        self.assertEqual(len(model(tokens, output_hidden_states=True).hidden_states), 3)

    def test_bf16_weights_load_as_such(self):
        out, _ = self.export(GOLDEN / "tpa_sas", "--dtype", "bf16")
        exact = self.load(self.export(GOLDEN / "tpa_sas")[0])
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
        tokenizer = transformers.AutoTokenizer.from_pretrained(out)
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
                out, _ = self.export(self.drawn(tiny_config()["model"] | {"vocab_size": 700}), "--tokenizer", FIXTURES / file)
                tokens = self.fresh("tokens")
                self.run_ok("tokenize", "--input", self.folder / "text.txt", "--tokenizer", FIXTURES / file, "--out", tokens,
                            "--separator", "")
                wanted = array.array("H", next(tokens.glob("*.bin")).read_bytes()[1024:]).tolist()
                tokenizer = transformers.AutoTokenizer.from_pretrained(out)
                self.assertEqual(tokenizer(text)["input_ids"], wanted)
                self.assertEqual(tokenizer.decode(wanted), text)
                self.assertEqual(tokenizer.eos_token_id, config_of(out)["eos_token_id"])


if __name__ == "__main__":
    harness.main()
