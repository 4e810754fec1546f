#!/usr/bin/env python3
"""Completion in real shells: bash, zsh and fish offer every command, option, listed value and key of the config."""
import os
import re
import select
import shutil
import subprocess
import time
import unittest
from pathlib import Path

import harness
from harness import DONE, USER, AppTest, saslm
from test_help import commands, keys, one_line, rows, sections, topics


def without(shell):
    return None if shutil.which(shell) else f"there is no {shell}"


def options(words):
    """{option: the values its help lists}"""
    found = {}
    for heading, _ in rows(sections(saslm(*words, "--help").out)["Options"]):
        name, _, value = heading.removeprefix("-h, ").partition(" ")
        found[name] = value.split("|") if re.fullmatch(r"[a-z0-9]+(\|[a-z0-9]+)+", value) else []
    return found


def leaves():
    return [path for path, key, _ in keys() if "properties" not in key]


class Shell(AppTest):
    """What a shell offers for a line that ends where the cursor is; a folder with known files is the current one.

    A class of a shell has SHELL, which runs a script that begins with SETUP, and script_of(line), which prints what is offered and `====`.
    """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        place = cls.place = Path(cls.folder) / cls.__name__
        for name in ("bin", "a folder", "runs"):
            (place / name).mkdir(parents=True)
        (place / "bin" / "saslm").symlink_to(os.environ["SASLM"])
        for name in ("my.json", "other one.json"):
            (place / name).write_text("{}")
        cls.env = {**os.environ, "PATH": f"{place}/bin:{os.environ['PATH']}", "TERM": "dumb", "HOME": str(place), "LC_ALL": "C"}

    def offered(self, line):
        return self.offered_at([line])[line]

    def offered_at(self, lines):
        """{line: set of words}, of one shell."""
        done = subprocess.run([*self.SHELL, "\n".join([self.SETUP, *map(self.script_of, lines)])], cwd=self.place, env=self.env, text=True,
                              capture_output=True, timeout=harness.PATIENCE_S)
        self.assertEqual(done.stderr, "")
        parts = done.stdout.split("====\n")[:-1]
        self.assertEqual(len(parts), len(lines))
        return {line: {word.split("\t")[0] for word in part.splitlines() if word} for line, part in zip(lines, parts)}

    def check_everything(self):
        top = {words[0] for words in commands()}
        expected = {"saslm ": top, "saslm t": {"tokenize", "train"}, "saslm bench ": {"step", "kernels", "ranks"},
                    "saslm train my.json --set ": {path + "=" for path in leaves()},
                    "saslm completion ": {"bash", "zsh", "fish"},
                    "saslm help ": top | set(topics()) | {path for path, _, _ in keys()}}
        for words in commands():
            line, there = f"saslm {' '.join(words)} ", options(words)
            expected[line + "--"] = set(there)
            for option, values in there.items():
                expected[line + option] = {name for name in there if name.startswith(option)}
                if values:
                    expected[f"{line}{option} "] = set(values)
        self.assertGreater(len(expected), 140)
        found = self.offered_at(list(expected))
        for line, words in expected.items():
            with self.subTest(line):
                self.assertEqual(found[line], words)

    def check_places(self):
        """Where on the line it matters."""
        everywhere = {name for name in options(("generate",))}
        self.assertEqual(self.offered("saslm generate "), everywhere)  # which has no arguments
        self.assertEqual(self.offered("saslm train my.json --json "), set(options(("train",))))
        self.assertEqual(self.offered("saslm generate --prompt "), set())  # any text
        self.assertEqual(self.offered("saslm train my.json --set runtime.device=cuda --res"), {"--resume"})
        self.assertEqual(self.offered("saslm train --resume must my.json --max"), {"--max-minutes"})
        self.assertEqual(self.offered("saslm qqqq "), set())
        self.assertEqual(self.offered("saslm train my.json -- --js"), set())


def split(line):
    """As bash splits a line: blanks, and '=' as a word of its own."""
    words = [part for word in line.split(" ") for part in (re.split("(=)", word) if word else [""]) if part or not word]
    return words


@unittest.skipIf(without("bash"), without("bash"))
class Bash(Shell):
    SHELL = ["bash", "--norc", "-c"]
    SETUP = "source <(saslm completion bash); compopt() { :; }"  # which only a shell that completes has

    def script_of(self, line):
        words = " ".join(f"'{word}'" for word in split(line))
        return (f"COMP_WORDS=({words}); COMP_CWORD={len(split(line)) - 1}; COMP_LINE='{line}'; "
                "COMP_POINT=${#COMP_LINE}; _saslm; printf '%s\\n' \"${COMPREPLY[@]}\"; echo ====")

    def test_everything(self):
        self.check_everything()

    def test_places(self):
        self.check_places()

    def test_values_of_keys(self):
        self.assertEqual(self.offered("saslm train my.json --set runtime.device="), {"auto", "cpu", "cuda"})
        self.assertEqual(self.offered("saslm train my.json --set runtime.device=cu"), {"cuda"})
        self.assertEqual(self.offered("saslm train my.json --resume=m"), {"must"})
        self.assertEqual(self.offered("saslm train my.json --set=optim.w"), {"optim.weight_decay="})

    def test_files(self):
        self.assertEqual(self.offered("saslm train m"), {"my.json"})
        self.assertEqual(self.offered("saslm train my.json --run-dir "), {"bin", "a folder", "runs"})
        self.assertEqual(self.offered("saslm train my.json --run-dir=ru"), {"runs"})
        self.assertEqual(self.offered("saslm plan my.json oth"), {"other one.json"})


@unittest.skipIf(without("fish"), without("fish"))
class Fish(Shell):
    SHELL = ["fish", "--no-config", "-c"]
    SETUP = "saslm completion fish | source"

    def script_of(self, line):
        return f"complete --do-complete '{line}'; echo ===="

    def test_everything(self):
        self.check_everything()

    def test_places(self):
        self.check_places()

    def test_values_and_files(self):
        begin = "saslm train my.json --set runtime.device="
        self.assertEqual(self.offered(begin), {f"runtime.device={word}" for word in ("auto", "cpu", "cuda")})
        self.assertEqual(self.offered("saslm train m"), {"my.json"})
        self.assertEqual(self.offered("saslm train my.json --run-dir ru"), {"runs/"})


PATIENCE_AT_A_TERMINAL_S = 20


class Typed:
    """A shell at a terminal: what a line becomes when Tab is pressed at its end. Ctrl-T shows the line."""

    def __init__(self, command, setup, place, env):
        self._pid, self._terminal = harness.fork_at_terminal()
        if self._pid == 0:
            os.chdir(place)
            os.execvpe(command[0], command, env)
        self._send(setup + "; PS1='re''ady> '\n")
        self._read(re.compile(b"re(ady)> "))  # not before: a terminal that no shell edits takes Ctrl-U itself

    def _send(self, text):
        os.write(self._terminal, text.encode())

    def _read(self, pattern):
        text, deadline = b"", time.monotonic() + PATIENCE_AT_A_TERMINAL_S
        while not (match := pattern.search(text)):
            if not select.select([self._terminal], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(text)
            text += os.read(self._terminal, 4096)
        return match[1].decode()

    def complete(self, line):
        self._send(line + "\t\x14\x15")  # Ctrl-U: away with it
        return self._read(re.compile(rb"<<(.*?)>>", re.S))

    def close(self):
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)


class AtATerminal(Shell):
    CASES = {
        "saslm comp": "saslm comp",  # compare, completion
        "saslm comple": "saslm completion ",
        "saslm bench ke": "saslm bench kernels ",
        "saslm train my.json --max": "saslm train my.json --max-minutes ",
        "saslm train my.json --resume ne": "saslm train my.json --resume never ",
        "saslm train my.json --resume=ne": "saslm train my.json --resume=never ",
        "saslm train my.json --set optim.we": "saslm train my.json --set optim.weight_decay=",
        "saslm train my.json --set runtime.device=cu": "saslm train my.json --set runtime.device=cuda ",
        "saslm help resu": "saslm help resume ",
        "saslm train oth": "saslm train other\\ one.json ",
        "saslm inspect run": "saslm inspect runs/",
        "saslm train my.json --run-dir a": "saslm train my.json --run-dir a\\ folder/",
        "saslm train my.json --run-dir=run": "saslm train my.json --run-dir=runs/",
        "bin/saslm gener": "bin/saslm generate ",
        "~/bin/saslm gener": "~/bin/saslm generate ",
    }

    def check(self, shell):
        try:
            for line, expected in self.CASES.items():
                with self.subTest(line):
                    self.assertEqual(shell.complete(line), expected)
        finally:
            shell.close()

    @unittest.skipIf(without("bash"), without("bash"))
    def test_bash(self):
        setup = ("source <(saslm completion bash); bind 'set enable-bracketed-paste off'; bind 'set bell-style none';"
                 "shown() { printf '<''<%s>''>' \"$READLINE_LINE\"; }; bind -x '\"\\C-t\": shown'")
        self.check(Typed(["bash", "--norc", "--noprofile", "-i"], setup, self.place, self.env))

    @unittest.skipIf(without("zsh"), without("zsh"))
    def test_zsh(self):
        setup = ("autoload -Uz compinit; compinit -u -D; source <(saslm completion zsh); unsetopt zle_bracketed_paste beep automenu;"
                 "shown() { print -rn -- '<''<'\"$BUFFER\"'>''>' }; zle -N shown; bindkey -e; bindkey '^T' shown;"
                 "KEYTIMEOUT=1")
        self.check(Typed(["zsh", "-f", "-i"], setup, self.place, self.env))


class Script(AppTest):
    def test_of_a_shell_that_there_is_not(self):
        done = saslm("completion", "tcsh")
        self.assertEqual((done.code, done.out), (USER, ""))
        self.assertIn("tcsh", done.err)

    def test_it_is_not_listed(self):
        """The command that the scripts call is for them alone."""
        self.assertNotIn("__complete", saslm("--help").out + saslm().err)
        self.assertEqual(saslm("__complete", "exp"), (DONE, "export\t" + one_line(saslm("export", "--help").out.splitlines()[0]) + "\n", ""))


if __name__ == "__main__":
    harness.main()
