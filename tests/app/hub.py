"""Shared by the tests with Hugging Face's transformers: the Python to use, and models to try.

Without PyTorch and transformers in the Python that runs a test file, what needs them is skipped. SASLM_PYTHON=PATH names another
one, which then runs the whole file.
"""
import json
import os
import sys
from pathlib import Path

if os.environ.get("SASLM_PYTHON") and sys.argv[0] and os.environ.get("SASLM_UNDER") != os.environ["SASLM_PYTHON"]:
    os.environ["SASLM_UNDER"] = os.environ["SASLM_PYTHON"]  # else two names of one Python would call each other
    os.execv(os.environ["SASLM_PYTHON"], [os.environ["SASLM_PYTHON"], *sys.argv])

import harness
from harness import GOLDEN, AppTest, saslm

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"
FIXTURES = Path(__file__).resolve().parent.parent / "data" / "fixtures"

try:
    import torch
    import transformers
    import transformers.dynamic_module_utils
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    VERSION = tuple(map(int, transformers.__version__.split(".")[:2]))  # Llama has head_dim from 4.46 on
    MISSING = None if VERSION >= (4, 46) else f"needs transformers 4.46 or newer, not {transformers.__version__}"
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

    def bare(self, checkpoint, *args):
        """Of a model without a tokenizer."""
        return self.export(checkpoint, "--no-tokenizer", *args)

    def refused(self, code, *args, phrases=(), command="export"):
        done = saslm(command, *args)
        self.assertEqual(done.code, code, done.err)
        for phrase in phrases:
            self.assertIn(phrase, done.err)


class Loading(Exporting):
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

    def drawn(self, model, tokenizer="bytes"):
        """A folder with that model block and weights large enough that every part has an effect."""
        folder = self.fresh("drawn")
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model": model, "data": {"train": "none", "tokenizer": str(tokenizer)}}))
        resolved = self.golden.read_config(folder / "config.json")
        self.golden.write_safetensors(folder / "model.safetensors", self.golden.draw_parameters(resolved.model, seed=5))
        return folder

    def of_golden(self, name):
        """The golden model's kind over bytes, drawn."""
        return self.drawn({**config_of(GOLDEN / name)["model"], "vocab_size": 256})

    def likeliest(self, folder, prompt, count):
        """The most likely bytes according to saslm, in order."""
        out = self.fresh("text")
        with out.open("wb") as file:
            self.assertEqual(saslm("generate", "--checkpoint", folder, "--prompt", prompt.decode(), "--tokens", count,
                                   "--temperature", 0, stdout=file).code, 0)
        return out.read_bytes()[:-1]


def greedy(model, tokens, count, mask=None, **how):
    """The ids of `count` tokens after each row."""
    model.generation_config.eos_token_id = None  # saslm does not stop there
    with torch.no_grad():
        out = model.generate(tokens, attention_mask=torch.ones_like(tokens) if mask is None else mask, max_new_tokens=count,
                             do_sample=False, pad_token_id=0, **how)
    return out[:, tokens.shape[1]:].tolist()
