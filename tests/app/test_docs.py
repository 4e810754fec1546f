#!/usr/bin/env python3
"""Every command of README.md and of the pages for users (PAGES) runs, in order, and prints what the page shows.

How: the ```sh blocks of a page run line by line in a folder laid out as the repository (build/saslm, configs, scripts). A JSON block
after a paragraph that names one file (`my.json`) becomes that file. A block without a language right after commands is their output:
where they ran as they stand, each of its lines must be printed, in this order; `...` stands for any lines, and times and speeds for
others. What is made smaller, not run, or given, stands in the tables below; an entry that fits no command fails.
"""
import json
import os
import re
import shlex
import shutil
import subprocess
import unittest
from pathlib import Path
from typing import NamedTuple

import harness
from harness import AppTest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = ("README.md", "docs/tutorial.md", "docs/running.md", "docs/comparing.md")

# What is appended to a command (its beginning), so that all take a minute on one core.
SMALLER = {
    "build/saslm train": "--set train.steps=2 --set train.micro_batch=1 --set train.seq_len=16 --set eval.max_sequences=1 "
                         "--set optim.schedule.warmup_steps=1",
    "build/saslm compare": "--set train.steps=6 --set train.micro_batch=1 --set train.seq_len=16 --set eval.max_sequences=1 "
                           "--set optim.schedule.warmup_steps=1",
    "build/saslm eval": "--seq-len 16 --max-sequences 4",
    "build/saslm generate": "--tokens 5",
}
# Commands (their beginning) that are not run, and why.
NOT_RUN = {
    "bash scripts/quickstart.sh": "takes a minute and installs packages; .ci/run runs it",
    "scripts/setup.sh": "installs packages; bash scripts/test.sh runs it",
    "scripts/build.sh": "builds what runs here; bash scripts/test.sh runs it",
    "bash scripts/test.sh": "runs this test; .ci/run runs it",
}
# What readers have of their own, made here in the page's folder before its first command.
TEXT = "In the beginning was the word, and the word was with the reader.\n" * 120
GIVEN = {
    "book1.txt": TEXT, "book2.txt": TEXT, "book3.txt": TEXT,
    "build/quickstart/data/train_000000.bin": harness.shard_bytes(harness.sample_tokens(6000, seed=1)),
    "build/quickstart/data/val_000000.bin": harness.shard_bytes(harness.sample_tokens(2000, seed=2)),
}
# A command's program that a machine may lack: what it would have made, from where.
STANDS_IN = {"scripts/train_tokenizer.py": ("tokenizers", "--out", ROOT / "tests/data/fixtures/base.json")}

CLOCK = re.compile(r"\[\d\d:\d\d:\d\d\]|\d[\d.]*(?:[KMG])? ?(?:tok/s|tokens/s|ms|s\b)|\b(?:eta|in) [\dhms ]+")


class Block(NamedTuple):
    language: str
    text: str
    before: str  # the paragraph above it


def blocks(page):
    """The fenced blocks of a page."""
    lines, found, begin = page.splitlines(), [], None
    for i, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if begin is None:
            begin = i
            continue
        above = "\n".join(lines[:begin]).rstrip().split("\n\n")[-1]
        found.append(Block(lines[begin][3:].strip(), "\n".join(lines[begin + 1:i]) + "\n", above.replace("\n", " ")))
        begin = None
    return found


def commands(text):
    """The commands of a ```sh block, comments removed, lines joined that end in a backslash."""
    for line in text.replace("\\\n", " ").splitlines():
        words = re.match(r"""(?:\s*(?!#)(?:'[^']*'|"[^"]*"|\\.|[^\s'"\\])+)*""", line).group().strip()
        if words:
            yield words


def named_file(block):
    names = re.findall(r"`([\w./-]+\.json)`", block.before)
    return names[-1] if block.language == "json" and names else None


def begins(table, command):
    """The entry of a table that a command begins with."""
    return next((key for key in table if command.startswith(key)), None)


def plain(line):
    return " ".join(CLOCK.sub("<clock>", line).split())


def missing_line(shown, printed):
    """The first line shown that was not printed in its turn; None when all were."""
    at = 0
    printed = [plain(line) for line in printed.splitlines()]
    for line in shown.splitlines():
        if line.strip() in ("", "..."):
            continue
        wanted = plain(line)
        whole = not wanted.endswith("...")
        matches = [i for i in range(at, len(printed))
                   if (printed[i] == wanted if whole else printed[i].startswith(wanted[:-3].rstrip()))]
        if not matches:
            return line
        at = matches[0] + 1
    return None


class Page:
    """A page's commands, run in a separate folder."""

    def __init__(self, test, name, folder):
        self.test, self.name, self.folder, self.used, self.compared = test, name, folder, set(), 0
        shutil.copytree(ROOT / "configs", folder / "configs")
        (folder / "scripts").symlink_to(ROOT / "scripts")
        (folder / "build").mkdir()
        (folder / "build/saslm").symlink_to(os.environ["SASLM"])
        for path, made in GIVEN.items():
            to = folder / path
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(made.read_bytes() if isinstance(made, Path) else made if isinstance(made, bytes) else made.encode())

    def run(self):
        printed = ""  # by the last block's commands, where they ran as they stand
        for block in blocks((ROOT / self.name).read_text()):
            if block.language == "sh":
                outputs = [self.command(command) for command in commands(block.text)]
                printed = None if None in outputs else "".join(outputs)
            elif block.language == "json":
                self.json(block)
            elif block.language in ("", "text") and printed:
                self.compared += 1
                line = missing_line(block.text, printed)
                self.test.assertIsNone(line, f"{self.name} shows a line that was not printed; printed was:\n{printed}")
                printed = ""

    def command(self, command):
        """What a command printed; None if it was not run literally."""
        key = begins(NOT_RUN, command)
        if key:
            self.used.add(key)
            return None
        if self.stood_in(command):
            return None
        key = begins(SMALLER, command)
        self.used.update([key] if key else [])
        whole = f"{command} {SMALLER[key]}" if key else command
        done = subprocess.run(["bash", "-c", whole], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", timeout=harness.PATIENCE_S,
                              env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"})
        self.test.assertEqual(done.returncode, 0, f"{self.name}: {whole}\n{done.stdout}")
        return None if key else done.stdout

    def stood_in(self, command):
        key = begins(STANDS_IN, command)
        if not key:
            return False
        self.used.add(key)
        module, option, made = STANDS_IN[key]
        if subprocess.run(["python3", "-c", f"import {module}"], stderr=subprocess.DEVNULL).returncode == 0:
            return False
        words = shlex.split(command)
        to = self.folder / words[words.index(option) + 1]
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, to)
        return True

    def json(self, block):
        value = json.loads(block.text)
        path = self.folder / (named_file(block) or "unnamed.json")
        path.write_text(block.text)
        if "model" in value and "data" in value:
            self.check("plan", "--no-data", path)
        elif "base" in value:
            if not (self.folder / value["base"]).exists():  # the reader's own
                path.write_text(json.dumps({**value, "base": "configs/quickstart_mha.json"}))
            self.check("compare", "--dry-run", path)

    def check(self, *args):
        done = harness.saslm(*args)
        self.test.assertEqual(done.code, harness.DONE, f"{self.name}: {args}\n{done.err}")


class Docs(AppTest):
    def test_every_command_runs(self):
        if not shutil.which("bible"):
            self.skipTest("the tutorial's text is Debian's bible-kjv, which scripts/setup.sh installs")
        used, pages = set(), []
        for name in PAGES:
            folder = self.fresh("page")
            folder.mkdir()
            page = Page(self, name, folder)
            page.run()
            used |= page.used
            pages.append(page)
        idle = [entry for table in (SMALLER, NOT_RUN, STANDS_IN) for entry in table if entry not in used]
        self.assertEqual(idle, [], "entries of the tables that fit no command of any page: remove them")
        self.assertGreater(pages[PAGES.index("docs/tutorial.md")].compared, 3, "the tutorial shows what its commands print")

    def test_what_is_given_is_wanted(self):
        text = "".join((ROOT / name).read_text() for name in PAGES)
        idle = [path for path in GIVEN if path not in text and path.split("/")[0] + "/" not in text]
        self.assertEqual(idle, [], "no page wants these: remove them")


class Reading(unittest.TestCase):
    """Tests of the reader of pages itself."""

    def test_commands(self):
        text = "a --b 'c # d' e#f  # a reader's comment\n\n  # comment\ne \\\n  f\n"
        self.assertEqual(list(commands(text)), ["a --b 'c # d' e#f", "e    f"])

    def test_blocks(self):
        page = "Save it as\n`my.json`:\n\n```json\n{}\n```\n\n```sh\na\n```\n"
        found = blocks(page)
        self.assertEqual([block.language for block in found], ["json", "sh"])
        self.assertEqual([named_file(block) for block in found], ["my.json", None])

    def test_output(self):
        printed = "one\ntwo 3 ms\n[10:00:00] three of four\nlast\n"
        for shown in ("one\n...\nlast", "two 44 ms", "[11:11:11] three...", "one\ntwo 3 ms\n[10:00:00] three of four\nlast"):
            self.assertIsNone(missing_line(shown, printed), shown)
        for shown in ("none", "last\none", "two 3 m", "three"):
            self.assertIsNotNone(missing_line(shown, printed), shown)


if __name__ == "__main__":
    harness.main()
