#!/usr/bin/env python3
"""Help: every command, topic and key has one, all fit a terminal, and every example runs."""
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import harness
from harness import DONE, USER, AppTest, merged, saslm, tiny_config

DIFFERS = 4
FIXTURES = Path(__file__).resolve().parent.parent / "data" / "fixtures"
WIDTH, NARROW = 100, 60
BLOCKS_CALLED_AS_COMMANDS = {"train", "eval"}


def sections(text):
    """{title: lines} of a help page; what stands before the first is under ''."""
    found, title = {"": []}, ""
    for line in text.splitlines():
        if re.fullmatch(r"[A-Z][^ ].*:", line):
            title = line[:-1]
            found[title] = []
        else:
            found[title].append(line)
    return found


def rows(lines):
    """[name, description] of two columns."""
    found = []
    for line in lines:
        if match := re.match(r"  (\S.*?)(?:  +(\S.*))?$", line):
            found.append([match[1], match[2] or ""])
        elif line.startswith("   ") and found:
            found[-1][1] = f"{found[-1][1]} {line.strip()}".strip()
    return found


def commands():
    """The words of every command, as main help and the help of commands of commands list them."""
    found = []
    for lines in sections(saslm("--help").out).items():
        title, lines = lines
        if title and not title.startswith(("Options", "Topics", "Examples", "Exit codes", "Keys")):
            found += [(name,) for name, _ in rows(lines)]
    return found + [("bench", name) for name, _ in rows(sections(saslm("bench", "--help").out)["Commands"])]


def topics():
    return [name for name, _ in rows(sections(saslm("--help").out)["Topics (saslm help TOPIC)"])]


def topic(name):
    return saslm("help", name).out


def schema():
    return json.loads(saslm("schema").out)


def keys(node=None, path=""):
    """(path, what the schema says of it, the block it is in), blocks too."""
    node = node or schema()
    for name, key in node.get("properties", {}).items():
        if name != "$schema":
            at = f"{path}.{name}" if path else name
            yield at, key, node
            yield from keys(key, at) if "properties" in key else ()


def one_line(text):
    return " ".join(text.split())


def examples_of(page):
    return [line.strip() for line in sections(page).get("Examples", []) if line.strip().startswith("saslm ")]


def commands_in(text):
    """Commands in the text of a topic; what follows two blanks explains."""
    return [re.split(r"  +", line.strip())[0] for line in text.splitlines() if line.startswith("  saslm ")]


def object_in(text):
    """The JSON object that a topic shows."""
    return json.JSONDecoder().raw_decode(text[text.index("  { "):].strip())[0]


def quick(line):
    """The same with fewer samples, where what it prints is a time."""
    for command, options in {"bench kernels": {"--samples": 2, "--sample-ms": 1}, "bench ranks": {"--samples": 2},
                             "bench step": {"--warmup": 0, "--steps": 2}}.items():
        if command in line:
            line += "".join(f" {name} {value}" for name, value in options.items() if name not in line)
    return line


class Pages(AppTest):
    def page(self, *words):
        done = saslm(*words, "--help")
        self.assertEqual((done.code, done.err), (DONE, ""), words)
        return done.out

    def fits(self, text, width=WIDTH):
        self.assertTrue(text.endswith("\n") and not text.endswith("\n\n"), text[-30:])
        for line in text.splitlines():
            self.assertLessEqual(len(line), width, line)
            self.assertEqual(line.rstrip(), line)

    def test_there_is_one_of_every_command(self):
        self.assertIn(("train",), commands())
        self.assertIn(("bench", "kernels"), commands())
        listed = saslm().err.partition("needs a command: ")[2].splitlines()[0].split(", ")
        self.assertEqual(sorted(listed), sorted(words[0] for words in commands() if len(words) == 1))

    def test_of_a_command(self):
        self.fits(self.page())
        for words in commands():
            with self.subTest(words):
                text = self.page(*words)
                self.fits(text)
                lines = text.splitlines()
                self.assertRegex(lines[0], r"^[A-Z].*[^.]$")  # one line, which also stands in the list of commands
                self.assertTrue(lines[2].startswith("Usage: saslm " + " ".join(words)), lines[2])
                self.assertTrue(examples_of(text), "no example")
                for name, what in rows(sections(text)["Options"]) + rows(sections(text).get("Arguments", [])):
                    self.assertRegex(what.split(" [")[0], r"^[^\[\s].{2,}[^.]$", name)
                    self.assertNotIn("TEXT:", name)

    def test_one_option_has_one_description(self):
        """In every command that has it, but for those of which the value is another thing."""
        differs = {"--tokenizer", "--init-from", "--ranks", "--run-dir", "--seq-len", "--tokens", "--samples", "--device", "--out", "--format", "--dtype", "--from"}
        said = {}
        for words in commands():
            for name, what in rows(sections(self.page(*words))["Options"]):
                option = name.split()[-1] if name.startswith("-h") else name.split()[0]
                if option not in differs:
                    self.assertEqual(said.setdefault(option, what.split(" [default")[0]), what.split(" [default")[0], words)

    def test_a_narrow_terminal(self):
        for words in commands():
            code, text = harness.shown_at_terminal(*words, "--help", columns=NARROW, errors=True)
            self.assertEqual(code, DONE)
            for line in sections(text.replace("\r\n", "\n"))["Options"]:
                if "saslm" not in line:  # See also
                    self.assertLessEqual(len(line), NARROW, words)

    def test_help_of_a_command_is_its_page(self):
        self.assertEqual(saslm("help").out, self.page())
        for words in commands():
            with self.subTest(words):
                said = saslm("help", *words).out
                if words[0] in BLOCKS_CALLED_AS_COMMANDS:
                    said, _, last = said.rpartition("\n\n")
                    self.assertEqual(last, f"The config block of this name: saslm help config.{words[0]}\n")
                    said += "\n"
                self.assertEqual(said, self.page(*words))

    def test_topics(self):
        self.assertIn("exit-codes", topics())
        for name in topics():
            with self.subTest(name):
                done = saslm("help", name)
                self.assertEqual((done.code, done.err), (DONE, ""))
                self.fits(done.out, 80)
        for words in commands():
            for other in re.findall(r"saslm help ([\w-]+)", self.page(*words)):
                self.assertEqual(saslm("help", other).code, DONE, other)

    def test_what_there_is_no_help_on(self):
        for words, said in {
            ("trian",): "there is no help on trian; did you mean train?",
            ("resmue",): "there is no help on resmue; did you mean resume?",
            ("bench", "setp"): "there is no help on bench setp; did you mean bench step?",
            ("model.attentoin.sas",): "there is no help on model.attentoin.sas; did you mean model.attention.sas?",
            ("optim.",): "there is no help on optim.; did you mean ",
            ("model.attention.kind.sas",): "there is no help on model.attention.kind.sas; did you mean model.attention.kind?",
            ("qqqq", "zzzz"): "there is no help on qqqq zzzz. `saslm --help` lists",
        }.items():
            with self.subTest(words):
                done = saslm("help", *words)
                self.assertEqual((done.code, done.out), (USER, ""), done)
                self.assertIn("saslm: " + said, done.err)
                self.assertEqual(done.err.count("\n"), 1)


class Keys(AppTest):
    def test_every_key_has_help(self):
        self.assertGreater(len(list(keys())), 70)
        for path, key, block in keys():
            with self.subTest(path):
                self.assertGreater(len(key.get("description", "")), 5)
                name = "config." + path if path in BLOCKS_CALLED_AS_COMMANDS | {"checkpoint", "data"} else path
                done = saslm("help", name)
                self.assertEqual((done.code, done.err), (DONE, ""), done)
                self.assertTrue(one_line(done.out).startswith(one_line(f"{path}: {key['description']}")), done.out)
                self.assertLessEqual(max(map(len, done.out.splitlines())), WIDTH)
                if "properties" in key:
                    self.assertEqual([row[0] for row in rows(sections(done.out)["Keys"])],
                                     [f"{path}.{name}" for name in key["properties"]])
                    continue
                said = dict(rows(done.out.splitlines()[1:]))
                for word in key.get("enum", []):
                    self.assertIn(word, said["Type"])
                for limit in ("minimum", "maximum", "exclusiveMaximum"):
                    if limit in key:
                        self.assertIn(json.dumps(key[limit]).removesuffix(".0"), said["Type"].replace(",", "").split())
                if "default" in key:
                    expected = key["default"]
                    self.assertEqual(said["Default"], expected if expected and isinstance(expected, str) else
                                     json.dumps(expected, separators=(",", ":")).removesuffix(".0"))
                else:
                    self.assertEqual(said["Default"], "none")
                if path.split(".")[-1] in block.get("required", []):
                    self.assertEqual(said["Condition"], "required")

    def test_conditions(self):
        for path, said in {
            "model.attention.head_dim": "required under every kind but mla",
            "model.attention.n_kv_head": "required under kind gqa; refused under all others",
            "optim.schedule.decay_fraction": "refused under every kind but wsd",
            "optim.lr": None,
        }.items():
            self.assertEqual(dict(rows(saslm("help", path).out.splitlines()[1:])).get("Condition"), said)
        self.assertIn("Condition: required under kind sas; refused under kind mha\n", saslm("help", "model.attention.sas").out)

    def test_what_a_key_says_of_resuming_and_of_ranks(self):
        for path, resumed, ranks in (("train.steps", "may change, with a warning", "must agree"),
                                     ("train.seed", "a change is refused", "must agree"),
                                     ("runtime.threads", "may change", "may differ")):
            said = dict(rows(saslm("help", path).out.splitlines()[1:]))
            self.assertEqual([said["On resume"].partition(";")[0], said["Across ranks"]], [resumed, ranks], path)

    def test_other_words_for_a_key(self):
        for word in ("lr", "learning_rate", "LearningRate", "config.optim.lr"):
            self.assertEqual(saslm("help", word).out, saslm("help", "optim.lr").out)
        self.assertIn("learning_rate", saslm("help", "optim.lr").out)

    def test_examples_of_keys_are_taken(self):
        """Where there is a default, --set with the example changes nothing."""
        config = self.write_config(tiny_config())
        for path, key, _ in keys():
            if "default" not in key or path == "optim.schedule.decay_fraction":  # which is of another schedule
                continue
            said = saslm("help", path)
            example = shlex.split(dict(rows(said.out.splitlines()[1:]))["Example"])
            if path.startswith("model.attention.") and path.count(".") > 2:
                continue  # of kinds that this config is not
            with self.subTest(path):
                done = saslm("plan", config, "--no-data", *example)
                self.assertEqual(done.code, DONE, done)


class Examples(AppTest):
    """Every example, run in one folder as a new user might."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        place = cls.place = Path(cls.folder) / "examples"
        for name in ("bin", "books", "gpt2"):
            (place / name).mkdir(parents=True)
        (place / "bin" / "saslm").symlink_to(os.environ["SASLM"])
        text = "In the beginning was the word, and the word was a token.\n" * 40
        for name in ("book1.txt", "book2.txt", "books/a.txt"):
            (place / name).write_text(text + name)
        (place / "more.jsonl").write_text(json.dumps({"text": text}) + "\n")
        cls.write_gpt2(place / "gpt2")
        data = {"train": "data/mine/train_*.bin", "val": "data/mine/val_*.bin", "tokenizer": ""}
        byte = {"model": {"vocab_size": 256}, "data": data, "train": {"steps": 6, "grad_accum": None, "global_batch": 8}}
        for name, kind in {"my": "sas", "mha": "mha", "sas": "sas"}.items():
            (place / f"{name}.json").write_text(json.dumps(tiny_config(kind, **byte)))
        (place / "mha_sas.json").write_text(json.dumps(
            {"base": "mha.json", "seeds": [1, 2], "budget": "tokens", "eval_points": 2,
             "variants": [{"name": "mha"}, {"name": "sas", "set": {"model.attention": harness.ATTENTION["sas"]}}]}))

    @staticmethod
    def write_gpt2(folder):
        """A byte-level BPE without merges, in the words of GPT-2's files."""
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        names = {byte: chr(byte) for byte in printable}
        names.update({byte: chr(256 + i) for i, byte in enumerate(byte for byte in range(256) if byte not in printable)})
        words = {names[byte]: i for i, byte in enumerate(sorted(names))} | {"<|endoftext|>": 256}
        (folder / "encoder.json").write_text(json.dumps(words))
        (folder / "vocab.bpe").write_text("#version: 0.2\n")

    def call(self, command, expected=DONE):
        done = subprocess.run(["bash", "-c", command], cwd=self.place, capture_output=True, encoding="utf-8", errors="replace",
                              timeout=harness.PATIENCE_S, env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{self.place}/bin:{os.environ['PATH']}"})
        self.assertEqual(done.returncode, expected, f"{command}\n{done.stdout}{done.stderr}")

    def test_every_example_runs(self):
        pages = [saslm(*words, "--help").out for words in [(), *commands()]]
        examples = list(dict.fromkeys(line for page in pages for line in examples_of(page)))
        examples += [line for name in topics() for line in commands_in(topic(name)) if line not in examples]
        self.assertGreater(len(examples), 35)
        self.assertTrue(any("--gpus" in line for line in examples))
        for line in examples:
            with self.subTest(line):
                if "import" in line:  # what is imported must be there
                    self.call("saslm train mha.json && saslm export --checkpoint runs/mha --out hf/llama")
                if "--gpus" in line:
                    self.assertTrue(line.endswith("--gpus 2"))
                    line = f"saslm plan --no-data {line.split()[2]}"  # which need not be here
                self.call(quick(line), DIFFERS if " diff " in line else DONE)

    def test_json_in_topics(self):
        config = object_in(topic("config"))
        (self.place / "shown.json").write_text(json.dumps(config))
        self.call("saslm plan --no-data shown.json")
        comparison = object_in(topic("comparison"))
        self.call("mkdir -p data/shown && saslm tokenize --input book1.txt --out data/shown")
        config["data"] = {"train": "data/shown/*.bin", "val": "data/shown/*.bin"}
        (self.place / "base.json").write_text(json.dumps(config))
        (self.place / "shown_comparison.json").write_text(json.dumps(merged(comparison, {"base": "base.json"})))
        self.call("saslm compare shown_comparison.json --dry-run --set train.steps=4 --set train.seq_len=64")


class Facts(AppTest):
    """Lists in topics are complete and correct."""

    def test_blocks_of_a_config(self):
        listed = re.findall(r"^  (\w+)  +\S.*$", topic("config").split("An example")[0], re.M)
        self.assertEqual(listed, [name for name in schema()["properties"] if name != "$schema"])
        required = re.findall(r"^  (\w+) .*required$", topic("config"), re.M)
        self.assertEqual(required, schema()["required"])

    def test_keys_of_a_comparison(self):
        listed = re.findall(r"^  (\w+)  +\S.*$", topic("comparison").split("} }\n")[-1], re.M)
        path = self.folder / "wrong.json"
        path.write_text('{"variants": [], "qqqq": 1}')
        valid = saslm("compare", path).err.split("Valid here: ")[1].strip().split(", ")
        self.assertEqual(sorted(listed), sorted(valid))

    def test_files_and_events_of_a_run(self):
        run = self.train(tiny_config(train={"steps": 6}))
        files, listed = topic("run").split("Lines of metrics.jsonl")
        top = re.findall(r"^  (\w\S*)  ", files, re.M)
        self.assertEqual({name.rstrip("/") for name in top}, {path.name for path in Path(run).iterdir() if path.name != ".lock"})
        checkpoint = re.findall(r"^    (\w\S*)  ", files, re.M)
        self.assertEqual(set(checkpoint), {path.name for path in harness.checkpoints(run)[-1].iterdir()})
        happened = {event["event"]: event for event in harness.read_metrics(run)}
        for name, fields in re.findall(r"^  (\w+)  +(\S.*)$", listed, re.M):
            if name == "saslm":
                continue
            self.assertIn(name, happened)
            for field in re.findall(r"\b[a-z]+_[a-z_]+\b", fields):
                self.assertIn(field, happened[name])


if __name__ == "__main__":
    harness.main()
