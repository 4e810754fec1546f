#!/usr/bin/env python3
"""What the program prints: suggestions for wrong words, and no terminal escapes."""
import json
import os
import re
import shutil
import struct

import harness
from harness import DONE, USER, AppTest, Tensor, checkpoints, safetensors_bytes, saslm, tiny_config

ESCAPE = "\x1b]0;owned\x07\x1b[2J"  # sets a terminal's title, and wipes it
NAME = f"a{ESCAPE}b\nsaslm: all is well\r"
SHOWN = r"a\x1B]0;owned\x07\x1B[2Jb\x0Asaslm: all is well\x0D"
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all controls but tab and line break


class Meant(AppTest):
    """Unknown words and their suggestions."""

    def refused(self, *args):
        done = saslm(*args)
        self.assertEqual((done.code, done.out), (USER, ""), done)
        self.assertEqual(done.err.count("saslm: "), 1, done.err)
        return done.err

    def test_commands(self):
        for word, meant in {"trian": "train", "generat": "generate", "tokenise": "tokenize", "comapre": "compare"}.items():
            with self.subTest(word):
                self.assertEqual(self.refused(word, "a.json"),
                                 f"saslm: there is no command {word}; did you mean {meant}?\n"
                                 "run `saslm --help` for a list\n")
        self.assertIn("saslm: there is no command frobnicate\n", self.refused("frobnicate"))
        self.assertIn("saslm: there is no command bench stpe; did you mean step?\n", self.refused("bench", "stpe"))
        self.assertIn("saslm: saslm needs a command: tokenize, plan, ", self.refused())
        self.assertIn("saslm: saslm bench needs a command: ", self.refused("bench"))

    def test_options(self):
        for args, said in {
            ("train", "a.json", "--rundir", "x"): "saslm train has no option --rundir; did you mean --run-dir?",
            ("train", "a.json", "--run_dir=x"): "saslm train has no option --run_dir; did you mean --run-dir?",
            # said before what is missing for that very reason
            ("generate", "--chekpoint", "x"): "saslm generate has no option --chekpoint; did you mean --checkpoint?",
            ("generate", "--checkpoint", self.folder, "--prompt", "--x", "--tokns", "3"):
                "saslm generate has no option --tokns; did you mean --tokens?",
            ("train", "a.json", "--lr", "1e-3"): "saslm train has no option --lr; to set a config key: --set optim.lr=VALUE",
            ("train", "a.json", "--max-steps=3"):
                "saslm train has no option --max-steps; to set a config key: --set train.steps=VALUE",
            ("train", "a.json", "-n", "3"): "saslm train has no option -n",
            ("generate", "--checkpoint", self.folder, "--prompt", "-n", "-t", "3"): "saslm generate has no option -t",
            ("train", "a.json", "--frobnicate"): "saslm train has no option --frobnicate",
            ("train", "a.json", "--run-dir"): "saslm train: --run-dir needs a value",
        }.items():
            with self.subTest(args):
                self.assertEqual(self.refused(*args), f"saslm: {said}\nrun `saslm {args[0]} --help` for a list\n")

    def test_keys_of_other_trainers(self):
        for patch, said in {
            "optim.learning_rate=1": "unknown key optim.learning_rate; did you mean lr? Valid here: kind, lr",
            "model.dim=64": "unknown key model.dim; did you mean d_model?",
            "learning_rate=1": "unknown key learning_rate; did you mean optim.lr?",
            "n_embd=1": "unknown key n_embd; did you mean model.d_model?",
            "model.num_hidden_layers=1": "did you mean n_layer?",
            "model.block_size=1": "did you mean max_seq_len?",
            "train.per_device_train_batch_size=1": "did you mean micro_batch?",
            "optim.warmup_ratio=0.1": "did you mean optim.schedule.warmup_steps (a number of steps, not a fraction)?",
            "optim.max_grad_norm=1": "did you mean grad_clip?",
            "model.dropout=0.1": "unknown key model.dropout: there is no dropout; remove it",
            "eval_interval=1": "did you mean eval.every_steps?",
            "dtype=bf16": "did you mean runtime.precision?",
            "optim.qqq=1": "unknown key optim.qqq. Valid here: kind, lr",
        }.items():
            with self.subTest(patch):
                done = saslm("plan", self.write_config(tiny_config()), "--set", patch)
                self.assertEqual(done.code, USER)
                self.assertIn(said, done.err)


class Escapes(AppTest):
    """Names with terminal escapes, in every place for names."""

    def shows(self, *args, code, shown=SHOWN, where="err", **kwargs):
        done = saslm(*args, **kwargs)
        self.assertEqual(done.code, code, done)
        self.assertIn(shown, getattr(done, where))
        for text in (done.out, done.err):
            self.assertIsNone(OBEYED.search(text), repr(text))
        return done

    def test_the_command_line(self):
        self.shows(NAME, code=USER)
        self.shows("train", f"--{NAME}", code=USER)
        self.shows("train", f"{NAME}.json", code=USER)
        self.shows("inspect", self.folder / NAME, code=USER)
        self.shows("plan", self.write_config(tiny_config()), "--set", f"{NAME}=1", code=USER)

    def test_keys_and_values(self):
        self.shows("train", self.write_config(tiny_config(optim={NAME: 1})), code=USER)
        self.shows("train", self.write_config(tiny_config(optim={"c1 \x9b2J": 1})), code=USER, shown=r"c1 \xC2\x9B2J")
        config = tiny_config(data={"train": f"{NAME}.bin"})
        self.shows("train", self.write_config(config), "--run-dir", self.fresh(), code=USER)

    def test_bytes_that_are_no_text(self):
        self.shows("inspect", self.folder / os.fsdecode(b"\xff\x1b[1m"), code=USER, shown=r"/\xFF\x1B[1m")

    def test_ordinary_names_stay_readable(self):
        self.shows("inspect", self.folder / "été 日本 \U0001f600", code=USER, shown="/été 日本 \U0001f600: nothing to inspect")

    def test_tensors(self):
        path = self.folder / "names.safetensors"
        path.write_bytes(safetensors_bytes({NAME: Tensor("F32", [1], struct.pack("<f", 1)),
                                            "ok\x9b": Tensor("F32", [1], struct.pack("<f", 2))}))
        done = self.shows("inspect", path, code=DONE, where="out")
        self.assertIn(r"ok\xC2\x9B", done.out)
        done = saslm("inspect", path, "--json")
        self.assertIsNone(OBEYED.search(done.out.replace("\n", "")), done.out)
        self.assertEqual({t["name"] for t in json.loads(done.out)["tensors"]}, {NAME, "ok\x9b"})  # escaped, and the same

    def test_a_run_from_start_to_end(self):
        folder = self.folder / NAME
        folder.mkdir()
        for name in ("train.bin", "val.bin"):
            shutil.copy(self.folder / name, folder)
        config = folder / "a.json"
        config.write_text(json.dumps(tiny_config(train={"steps": 6})))
        run = folder / "run"
        self.shows("train", config, "--run-dir", run, code=DONE)
        self.shows("plan", config, config, code=DONE, where="out", shown="total")
        self.shows("inspect", run, code=DONE, where="out")
        self.shows("inspect", checkpoints(run)[-1], code=DONE, where="out")
        self.shows("eval", "--checkpoint", run, "--data", self.folder / "val.bin", code=DONE, where="out")
        self.shows("diff", run, run, code=DONE, where="out", shown="bit-identical")
        other = self.train(tiny_config(train={"steps": 6, "seed": 2}))
        self.shows("diff", run, other, code=4, where="out")
        self.shows("verify", run, "--work-dir", self.fresh(), code=DONE, where="out", shown="bit-identical")
        (checkpoints(run)[-1] / "model.safetensors").write_bytes(b"damaged")
        self.shows("inspect", run, code=USER, where="out")
        self.shows("eval", "--checkpoint", run, "--data", self.folder / "val.bin", code=DONE)  # the one before, and says so

    def test_a_model_talks_to_a_terminal(self):
        """To a pipe its text is what it is; a terminal gets no control character but line breaks and tabs."""
        config = tiny_config(model={"vocab_size": 256}, train={"steps": 5}, data={"tokenizer": "bytes"})
        run = self.train(config)
        command = ["generate", "--checkpoint", run, "--prompt", ESCAPE + "é", "--tokens", "200", "--seed", "1"]
        raw = harness.subprocess.run([os.environ["SASLM"], *map(str, command)], capture_output=True, check=True).stdout
        self.assertTrue(raw.startswith((ESCAPE + "é").encode()), raw)
        code, text = harness.shown_at_terminal(*command)
        self.assertEqual(code, DONE)
        self.assertTrue(text.startswith(r"\x1B]0;owned\x07\x1B[2Jé"), text)
        self.assertIsNone(OBEYED.search(text.replace("\r\n", "\n")), repr(text))  # \r: the terminal's own


if __name__ == "__main__":
    harness.main()
