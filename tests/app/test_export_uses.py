#!/usr/bin/env python3
"""What people do with an exported model in transformers: each way gives what the plain one gives, or is refused in words.

The plain way is the text of `saslm generate`, or logits without a cache; what transformers itself defines (losses over several
batches, what is kept of logits) is held to its own Llama, which gets the same weights as our class.
"""
import json
import shutil
import tempfile
import unittest

import hub  # first: it may choose another Python
import harness
from harness import GOLDEN
from hub import GPT2, LLAMA, MISSING, Loading, config_of, greedy

if not MISSING:
    import safetensors.torch
    import torch
    import transformers

# Caches differ by what they hold: a head count or a width that the config does not name, one for keys and one for values.
KINDS = ("sas_k5", "mla", "gqa_sas_features", "gqa_learned", "mqa_sas_heads", "moh_authors")
TEXTS = (b"ab", b"the mill", b"x")


def differ(one, other):
    return (one - other).abs().max().item()


@unittest.skipIf(MISSING, MISSING)
class Uses(Loading):
    def of_kind(self, name):
        """saslm's folder, the model as transformers loads it, its tokenizer."""
        folder = self.of_golden(name)
        out, _ = self.export(folder)
        return folder, self.load(out), transformers.AutoTokenizer.from_pretrained(out, trust_remote_code=True)

    def twins(self, **model):
        """One model twice: as transformers' own Llama and as our class."""
        folder = self.drawn({**LLAMA, **model})
        out, told = self.export(folder)
        self.assertEqual(told["class"], "LlamaForCausalLM")
        other = self.fresh("twin")
        shutil.copytree(self.export(self.drawn(harness.tiny_config("sas")["model"] | {"vocab_size": 256}))[0], other)
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        safetensors.torch.save_file(weights, other / "model.safetensors", {"format": "pt"})
        resolved = {**json.loads(json.dumps(LLAMA)), "tie_embeddings": True, "bias": False, **model}
        resolved["attention"] = {"position": "rope", **resolved["attention"]}
        (other / "config.json").write_text(json.dumps({**config_of(other), **{
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 32,
            "tie_word_embeddings": resolved["tie_embeddings"], "model": resolved}}))
        return self.load(out), self.load(other)

    # ---- Generating.

    def test_the_cache_is_used_and_a_static_one_and_a_batch_and_beams_change_no_text(self):
        for name in KINDS:
            with self.subTest(model=name):
                folder, model, tokenizer = self.of_kind(name)
                count = model.config.max_position_embeddings - max(map(len, TEXTS))
                batch = tokenizer([text.decode() for text in TEXTS], padding=True, return_tensors="pt")
                self.assertEqual((tokenizer.pad_token_id, batch["attention_mask"][0].tolist()), (0, [0] * 6 + [1] * 2))
                wanted = [list(self.likeliest(folder, text, count)[len(text):]) for text in TEXTS]
                for how in ({"use_cache": False}, {}, {"cache_implementation": "static"}):
                    seen, embed = [], model.embed.forward
                    model.embed.forward = lambda ids: (seen.append(ids.shape[1]), embed(ids))[1]
                    self.assertEqual(greedy(model, batch["input_ids"], count, batch["attention_mask"], **how), wanted, how)
                    model.embed.forward = embed
                    self.assertEqual(seen[1:] == [1] * (count - 1), how.get("use_cache", True), seen)  # one token a step
                beams = [greedy(model, batch["input_ids"], 6, batch["attention_mask"], num_beams=3, **how)
                         for how in ({"use_cache": False}, {}, {"cache_implementation": "static"})]
                self.assertEqual(beams[0], beams[1])
                self.assertEqual(beams[0], beams[2])

    def test_classes_of_transformers_take_batches_and_static_caches_too(self):
        for given in (LLAMA, GPT2):
            folder = self.drawn(given)
            out, _ = self.export(folder)
            model, tokenizer = self.load(out), transformers.AutoTokenizer.from_pretrained(out, trust_remote_code=True)
            batch = tokenizer([text.decode() for text in TEXTS], padding=True, return_tensors="pt")
            wanted = [list(self.likeliest(folder, text, 20)[len(text):]) for text in TEXTS]
            for how in ({}, {"cache_implementation": "static"}):
                self.assertEqual(greedy(model, batch["input_ids"], 20, batch["attention_mask"], **how), wanted, how)

    def test_a_prompt_may_be_given_as_embeddings(self):
        _, model, _ = self.of_kind("sas_k5")
        tokens = torch.tensor([list(b"ab"), list(b"cd")])
        wanted = greedy(model, tokens, 8)
        embeds = model.get_input_embeddings()(tokens)
        with torch.no_grad():
            self.assertEqual(differ(model(inputs_embeds=embeds).logits, model(tokens).logits), 0)
            for how in ({"use_cache": False}, {}, {"cache_implementation": "static"}):
                got = model.generate(inputs_embeds=embeds, attention_mask=torch.ones_like(tokens), max_new_tokens=8, do_sample=False,
                                     pad_token_id=0, **how)
                self.assertEqual(got.tolist(), wanted, how)

    def test_a_prompt_may_be_read_in_chunks(self):
        if not hasattr(transformers.GenerationConfig(), "prefill_chunk_size"):
            self.skipTest(f"transformers {transformers.__version__} reads no prompt in chunks")
        for name in ("sas_k5", "mla", "gqa_learned"):  # the convolution reaches over the chunks' borders
            folder, model, _ = self.of_kind(name)
            prompt = b"the mill"
            count = model.config.max_position_embeddings - len(prompt)
            wanted = list(self.likeliest(folder, prompt, count)[len(prompt):])
            for size in (1, 3, len(prompt), 50):
                seen, embed = [], model.embed.forward
                model.embed.forward = lambda ids: (seen.append(ids.shape[1]), embed(ids))[1]
                with self.subTest(model=name, size=size):
                    got = greedy(model, torch.tensor([list(prompt)]), count, prefill_chunk_size=size)
                    self.assertEqual(got, [wanted])
                    chunks = -(-len(prompt) // size)
                    self.assertEqual(seen[:chunks], [size] * (chunks - 1) + [len(prompt) - size * (chunks - 1)])
                model.embed.forward = embed

    def test_a_cache_goes_in_and_comes_out(self):
        for name in ("sas_k5", "mla_sas"):
            model = self.of_kind(name)[1]
            tokens = torch.tensor([[5, 9, 2, 7, 1, 3]])
            with torch.no_grad():
                wanted = model(tokens).logits
                self.assertIsNone(model(tokens).past_key_values)  # nothing is kept by default
                first = model(tokens[:, :3], use_cache=True)
                rest = model(tokens[:, 3:5], past_key_values=first.past_key_values)
                last = model(tokens[:, 5:], past_key_values=rest.past_key_values, return_dict=False)
                got = torch.cat([first.logits, rest.logits, last[0]], 1)
                self.assertLess(differ(got, wanted), 1e-4)
                self.assertIs(last[1], first.past_key_values)
                sizes = {"max_cache_len": 5, "device": "cpu", "dtype": torch.float32}
                if hub.VERSION < (4, 56):
                    sizes["batch_size"] = 1
                room = transformers.StaticCache(config=model.config, **sizes)
                self.assertLess(differ(model(tokens[:, :5], past_key_values=room).logits, wanted[:, :5]), 1e-4)
                with self.assertRaisesRegex(ValueError, "room for 5 tokens, got 6"):
                    model(tokens[:, 5:], past_key_values=room)
            with self.assertRaisesRegex(ValueError, "past_key_values: wanted a cache.*tuple"):
                model(tokens, past_key_values=((1, 2),))

    # ---- What comes out of one call.

    def test_what_transformers_defines_is_what_its_llama_does(self):
        for tie, bias in ((True, False), (False, True)):
            llama, ours = self.twins(tie_embeddings=tie, bias=bias)
            tokens = torch.tensor(harness.sample_tokens(40, seed=8, vocab=256)).view(2, 20)
            labels = tokens.clone()
            labels[0, 3:9] = -100
            mask = torch.ones_like(tokens)
            mask[1, :4] = 0
            for how in ({}, {"attention_mask": mask}, {"labels": labels}, {"labels": labels, "num_items_in_batch": 100},
                        {"labels": labels, "num_items_in_batch": torch.tensor(7)}, {"logits_to_keep": 1}, {"logits_to_keep": 5},
                        {"logits_to_keep": torch.tensor([2, 7])}, {"inputs_embeds": True}, {"position_ids": torch.arange(3, 23)[None]}):
                if "num_items_in_batch" in how and hub.VERSION < (4, 50):
                    continue  # its Llama shifts labels there, but not always by the same rule
                if "logits_to_keep" in how and hub.VERSION < (4, 50):
                    continue  # named num_logits_to_keep there
                with self.subTest(how=list(how), tie=tie):
                    ids = {"input_ids": tokens}
                    if how.pop("inputs_embeds", None):
                        ids = {"inputs_embeds": ours.get_input_embeddings()(tokens)}
                    with torch.no_grad():
                        wanted, got = llama(**ids, **how), ours(**ids, **how)
                    seen = mask.bool() if "attention_mask" in how else slice(None)
                    self.assertEqual(got.logits.shape, wanted.logits.shape)
                    self.assertLess(differ(got.logits[seen], wanted.logits[seen]), 1e-4)
                    if "labels" in how:
                        self.assertAlmostEqual(got.loss.item(), wanted.loss.item(), places=5)

    def test_attention_weights_and_hidden_states_are_llamas(self):
        out, _ = self.export(self.drawn(LLAMA))
        llama, ours = self.load(out, attn_implementation="eager"), self.twins()[1]
        tokens = torch.tensor([[5, 9, 2, 7, 1, 3]])
        with torch.no_grad():
            wanted, got = (model(tokens, output_attentions=True, output_hidden_states=True) for model in (llama, ours))
        for one, other in zip(got.attentions + got.hidden_states, wanted.attentions + wanted.hidden_states, strict=True):
            self.assertEqual(one.shape, other.shape)
            self.assertLess(differ(one, other), 1e-4)
        _, model, _ = self.of_kind("sas_k5")
        weights = model(tokens, output_attentions=True).attentions
        heads = model.config.model["attention"]["sas"]["n_sim_head"]
        self.assertEqual(weights[0].shape, (1, heads, 6, 6))
        self.assertLess(differ(weights[0].sum(-1), torch.ones(1, heads, 6)), 1e-5)

    def test_what_cannot_be_is_refused_in_words(self):
        _, model, _ = self.of_kind("sas_k5")
        tokens = torch.tensor([[5, 9, 2]])
        for error, words, how in (
                (ValueError, "either input_ids or inputs_embeds, got neither", {}),
                (ValueError, "got both", {"input_ids": tokens, "inputs_embeds": model.embed(tokens)}),
                (ValueError, r"attention_mask: wanted \[1, 3\].*got \[1, 2\]", {"input_ids": tokens, "attention_mask": tokens[:, :2]}),
                (ValueError, r"labels: wanted \[1, 1\]", {"input_ids": tokens, "labels": tokens, "logits_to_keep": 1}),
                (TypeError, "does not know head_mask", {"input_ids": tokens, "head_mask": tokens})):
            with self.assertRaisesRegex(error, words):
                model(**how)

    # ---- Training on.

    def test_checkpointed_layers_have_the_same_gradients(self):
        _, model, _ = self.of_kind("moh_authors")
        tokens = torch.tensor(harness.sample_tokens(34, seed=4, vocab=256)).view(2, 17)
        model.train()
        gradients = []
        for how in (None, {"use_reentrant": False}, {"use_reentrant": True}):
            if how:
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)
            self.assertEqual(model.is_gradient_checkpointing, how is not None)
            calls, forward = [], model.layers[0].attn.forward
            model.layers[0].attn.forward = lambda *given: (calls.append(1), forward(*given))[1]
            model.zero_grad()
            model(tokens, labels=tokens, use_cache=True).loss.backward()
            model.layers[0].attn.forward = forward
            self.assertEqual(len(calls), 2 if how else 1)
            gradients.append([weight.grad.clone() for weight in model.parameters()])
        for other in gradients[1:]:
            self.assertTrue(all(torch.equal(a, b) for a, b in zip(gradients[0], other, strict=True)))
        with self.assertRaisesRegex(ValueError, "gradient checkpointing"):
            model(tokens, past_key_values=transformers.DynamicCache())

    def test_trainer_accumulates_over_unequal_batches_as_over_one(self):
        """Two rows at once, and one after the other: the same first step, though they have labels in different numbers."""
        try:
            import accelerate  # noqa: F401
            transformers.Trainer
        except (ImportError, RuntimeError) as error:  # the second from transformers, for libraries that do not fit
            self.skipTest(f"Trainer cannot be had: {error}")
        stream = harness.sample_tokens(40, seed=4, vocab=256)
        rows = [{"input_ids": stream[:20], "labels": stream[:20]}, {"input_ids": stream[20:], "labels": [-100] * 15 + stream[35:]}]
        after = []
        for batch, accumulated in ((2, 1), (1, 2)):
            torch.manual_seed(1)
            _, model, _ = self.of_kind("sas_k5")
            how = transformers.TrainingArguments(tempfile.mkdtemp(dir=self.folder), per_device_train_batch_size=batch, max_steps=1,
                                                 gradient_accumulation_steps=accumulated, learning_rate=0.1, optim="sgd",
                                                 max_grad_norm=0, lr_scheduler_type="constant", report_to=[], use_cpu=True,
                                                 save_strategy="no", logging_strategy="no", disable_tqdm=True)
            transformers.Trainer(model, how, train_dataset=rows).train()
            after.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
        self.assertLess(differ(*after), 1e-5)

    def test_a_round_trip_through_transformers_keeps_the_model_and_saslm_reads_it(self):
        folder, model, _ = self.of_kind("mla_sas")
        saved = self.fresh("saved")
        model.save_pretrained(saved)
        self.assertIn("modeling_saslm.py", [path.name for path in saved.iterdir()])
        tokens = torch.tensor([[5, 9, 2, 7]])
        with torch.no_grad():
            self.assertEqual(differ(self.load(saved)(tokens).logits, model(tokens).logits), 0)
        self.assertEqual(config_of(saved)["model"], model.config.model)
        text = self.run_json("generate", "--checkpoint", saved, "--tokenizer", "bytes", "--prompt", "ab", "--tokens", 8, "--temperature", 0)
        self.assertEqual(text["text"].encode(errors="replace"),
                         self.run_json("generate", "--checkpoint", folder, "--prompt", "ab", "--tokens", 8, "--temperature", 0)
                         ["text"].encode(errors="replace"))
        model.resize_token_embeddings(260)
        wider = self.fresh("wider")
        model.save_pretrained(wider)
        with torch.no_grad():
            self.assertEqual(self.load(wider)(tokens).logits.shape, (1, 4, 260))
        self.assertEqual(config_of(wider)["model"]["vocab_size"], 260)

    def test_bf16_and_compiling_compute_the_same(self):
        for name in ("sas_k5", "moh_authors"):
            _, model, tokenizer = self.of_kind(name)
            tokens = torch.tensor([[5, 9, 2, 7]])
            with torch.no_grad():
                wanted = model(tokens).logits
                self.assertLess(differ(torch.compile(model, backend="aot_eager")(tokens).logits, wanted), 1e-4)
                torch.compiler.reset()
                half = model.to(torch.bfloat16)
                self.assertLess(differ(half(tokens).logits.float(), wanted) / wanted.abs().max().item(), 0.1)
                texts = [greedy(half, tokens, 6, **how) for how in ({}, {"cache_implementation": "static"})]
                self.assertEqual(*texts)


if __name__ == "__main__":
    harness.main()
