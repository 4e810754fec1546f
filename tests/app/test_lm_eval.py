#!/usr/bin/env python3
"""lm-evaluation-harness over an export: it finds the perplexity that `saslm eval` finds, of the same documents.

Each document fills one window: the boundary token that precedes it in training, then its bytes. The harness puts the same token
before a text that it scores as a whole (loglikelihood_rolling): its prefix token, which is the tokenizer's bos_token.
"""
import json
import math
import os
import unittest

import hub  # first: it may choose another Python
import harness
from hub import MISSING, Loading

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
try:
    import lm_eval
    import lm_eval.api.instance
    import lm_eval.models.huggingface
    import lm_eval.tasks
except ImportError as error:
    MISSING = MISSING or f"needs lm-evaluation-harness (pip install lm-eval): {error}"

DOCUMENTS = ("In the beginning there w", "The mill stood by a dam.", "x + y = z; y = 0; z = ?!")
LENGTH = 24  # of each, in tokens
TASK = """task: documents
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list:
  - metric: byte_perplexity
  - metric: bits_per_byte
"""


@unittest.skipIf(MISSING, MISSING)
class Harness(Loading):
    def setUp(self):
        os.environ["HF_DATASETS_CACHE"] = str(self.folder / "datasets")
        self.model = self.of_golden("sas_k5")
        if self.golden.read_config(self.model / "config.json").model.max_seq_len < LENGTH:  # its documents are longer
            block = json.loads((self.model / "config.json").read_text())["model"]
            self.model = self.drawn({**block, "max_seq_len": 32})
        self.out, _ = self.export(self.model)

    def loss_by_saslm(self):
        shards = self.fresh("shards")
        shards.mkdir()
        for i, text in enumerate(DOCUMENTS):
            harness.write_shard(shards / f"part{i}.bin", b"\0" + text.encode())
        told = self.run_json("eval", "--checkpoint", self.model, "--data", shards / "*.bin", "--seq-len", LENGTH)
        self.assertEqual((told["sequences"], told["tokens"]), (len(DOCUMENTS), len(DOCUMENTS) * LENGTH))
        return told["loss"]

    def as_harness_model(self, **how):
        return lm_eval.models.huggingface.HFLM(pretrained=str(self.out), trust_remote_code=True, dtype="float32", device="cpu",
                                               batch_size=2, **how)

    def test_perplexity_is_saslms(self):
        tasks = self.fresh("tasks")
        tasks.mkdir()
        (tasks / "documents.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in DOCUMENTS))
        (tasks / "documents.yaml").write_text(TASK.format(path=tasks / "documents.jsonl"))
        manager = lm_eval.tasks.TaskManager(include_path=str(tasks), include_defaults=False)
        found = lm_eval.simple_evaluate(model=self.as_harness_model(), tasks=["documents"], task_manager=manager, bootstrap_iters=0)
        loss = self.loss_by_saslm()
        got = found["results"]["documents"]  # a byte is a token here
        self.assertLess(abs(got["byte_perplexity,none"] / math.exp(loss) - 1), 1e-6)
        self.assertLess(abs(got["bits_per_byte,none"] / (loss / math.log(2)) - 1), 1e-6)

    def scores(self, model, *pairs):
        kinds = {1: "loglikelihood_rolling", 2: "loglikelihood"}
        asked = [lm_eval.api.instance.Instance(kinds[len(pair)], {}, pair, i) for i, pair in enumerate(pairs)]
        return getattr(model, asked[0].request_type)(asked)

    def by_torch(self, context, scored):
        """The log-likelihood of the bytes `scored` after `context`."""
        import torch
        tokens = torch.tensor([[*context, *scored]])
        with torch.no_grad():
            logits = self.load(self.out)(tokens[:, :-1]).logits[0].double().log_softmax(-1)
        return sum(logits[len(context) - 1 + i, token].item() for i, token in enumerate(scored))

    def test_add_bos_token_belongs_to_questions_with_a_context_not_to_whole_texts(self):
        text, context, answer = DOCUMENTS[1], "The mill stood", " by a dam"
        plain, bos = self.as_harness_model(), self.as_harness_model(add_bos_token=True)
        wanted = self.by_torch(b"\0", text.encode())
        self.assertAlmostEqual(self.scores(plain, (text,))[0], wanted, places=4)
        (asked, _), = self.scores(plain, (context, answer))
        self.assertAlmostEqual(asked, self.by_torch(context.encode(), answer.encode()), places=4)
        if bos.tokenizer.encode("a") != [0, ord("a")]:
            self.skipTest("this version of transformers has no add_bos_token for such tokenizers")
        # A boundary that is scored itself, after the prefix token: another number, of another text.
        self.assertAlmostEqual(self.scores(bos, (text,))[0], self.by_torch(b"\0", b"\0" + text.encode()), places=4)
        (asked, _), = self.scores(bos, (context, answer))
        self.assertAlmostEqual(asked, self.by_torch(b"\0" + context.encode(), answer.encode()), places=4)  # as trained


if __name__ == "__main__":
    harness.main()
