"""Shared by the end-to-end tests: running the program, making its inputs, reading its outputs.

A test file is a program: `python3 test_X.py PATH_TO_SASLM [unittest options]`, or SASLM=PATH in the environment.
Only the command line and the documented files are used, never the program's code.
"""
import array
import contextlib
import copy
import itertools
import json
import os
import pty
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import NamedTuple

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
VOCAB = 64
DONE, MACHINE, USER, DIVERGED, STOPPED = 0, 1, 2, 3, 75
PATIENCE_S = 60  # far above anything that ends by itself, even on a busy machine


def main():
    """Takes the program's path off the command line and runs the tests of the calling file."""
    if len(sys.argv) > 1 and os.path.isfile(sys.argv[1]):
        os.environ["SASLM"] = sys.argv.pop(1)
    if not os.path.isfile(os.environ.get("SASLM", "")):
        sys.exit("usage: test_X.py PATH_TO_SASLM (or set SASLM)")
    os.environ["SASLM"] = os.path.abspath(os.environ["SASLM"])
    unittest.main()


# ---- Terminals, which a root without /dev/pts has none of.

def _terminal(make):
    try:
        return make()
    except OSError as error:
        raise unittest.SkipTest(f"this machine gives no terminal: {error}") from error


def open_terminal():
    """A terminal's two ends: the screen's, and the program's."""
    return _terminal(pty.openpty)


def fork_at_terminal():
    """As os.fork(), the child at a terminal of its own: (pid or 0, the screen's end)."""
    return _terminal(pty.fork)


def shown_at_terminal(*args, columns=None, errors=False):
    """What a terminal gets of the program's output, and of its errors where told: (exit code, text)."""
    screen, terminal = open_terminal()
    if columns:
        subprocess.run(["stty", "cols", str(columns)], stdin=terminal, check=True)
    process = subprocess.Popen(_command(args), stdout=terminal, stderr=terminal if errors else subprocess.DEVNULL)
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(screen, 4096):
            shown += piece
    os.close(screen)
    return process.wait(PATIENCE_S), shown.decode()


# ---- Running the program.

class Result(NamedTuple):
    code: int  # negative: killed by that signal
    out: str
    err: str


def _command(args, program=None):
    return [program or os.environ["SASLM"], *map(str, args)]


def _environment(env):
    """One thread unless a test says otherwise, since tests share the machine; threads that wait must not spin."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", **(env or {})}


def saslm(*args, env=None, cwd=None, stdout=subprocess.PIPE, patience_s=PATIENCE_S, program=None):
    # Generated text may hold bytes that are not UTF-8.
    done = subprocess.run(_command(args, program), stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                          encoding="utf-8", errors="replace", env=_environment(env), cwd=cwd, timeout=patience_s)
    return Result(done.returncode, done.stdout, done.stderr)


def another_build(path):
    """A program that behaves equally but has different bytes."""
    shutil.copy(os.environ["SASLM"], path)
    with open(path, "ab") as file:
        file.write(b"another")
    return path


class Process:
    """The program in the background. Its stderr goes to a file, so that a full pipe never slows it."""

    def __init__(self, *args, env=None, under=()):
        self._err = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self._popen = subprocess.Popen([*under, *_command(args)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=self._err, env=_environment(env))
        self.pid = self._popen.pid
        self.peak_bytes = None  # resident, once it has ended

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.running():
            self.send(signal.SIGKILL)
            self.wait_until(lambda: False)
        self._err.close()

    def running(self):
        if self._popen.returncode is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)  # wait() would not tell the peak
            if pid:
                self._popen.returncode = os.waitstatus_to_exitcode(status)
                self.peak_bytes = 1024 * usage.ru_maxrss
        return self._popen.returncode is None

    def send(self, number):
        os.kill(self.pid, number)

    def wait_until(self, condition):
        """True once `condition()` holds; False when the program ends before."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if not self.running():
                return condition()
            if time.monotonic() > deadline:
                raise TimeoutError("neither the end of the program nor what was awaited came")
            time.sleep(0.0005)
        return True

    def wait(self):
        self.wait_until(lambda: False)
        self._err.seek(0)
        return Result(self._popen.returncode, "", self._err.read())


# ---- Inputs.

def sample_tokens(count, seed, vocab=VOCAB):
    """A learnable stream: the next token is one of a few functions of the last."""
    draw = random.Random(seed)
    tokens = [0]
    while len(tokens) < count:
        tokens.append((tokens[-1] * 5 + draw.choice((1, 1, 1, 2, 9))) % vocab)
    return tokens


def shard_bytes(tokens, *, magic=20240520, version=1, claim=None, wide=False):
    """An llm.c shard; `claim`: a wrong number of tokens for its header."""
    header = [magic, version, len(tokens) if claim is None else claim] + [0] * 253
    return struct.pack("<256i", *header) + array.array("I" if wide else "H", list(tokens)).tobytes()


def write_shard(path, tokens, **header):
    Path(path).write_bytes(shard_bytes(tokens, **header))


ATTENTION = {
    "mha": {"kind": "mha", "n_head": 2, "head_dim": 16},
    "mqa": {"kind": "mqa", "n_head": 2, "head_dim": 16},
    "gqa": {"kind": "gqa", "n_head": 4, "head_dim": 8, "n_kv_head": 2},
    "sas": {"kind": "sas", "n_head": 2, "head_dim": 16,
            "sas": {"n_sim_head": 4, "sim_head_dim": 24, "kernel_size": 3}},
    "mla": {"kind": "mla", "n_head": 3, "mla": {"q_rank": 16, "kv_rank": 8, "nope_dim": 8, "rope_dim": 4, "v_dim": 8}},
    "tpa": {"kind": "tpa", "n_head": 3, "head_dim": 12, "tpa": {"q_rank": 3, "k_rank": 2, "v_rank": 1}},
    "mhe": {"kind": "mhe", "n_head": 4, "head_dim": 12, "mhe": {"form": "mul"}},
}


def merged(base, patch):
    """`base` with `patch` laid over it, object by object; a None in `patch` removes the key."""
    result = copy.deepcopy(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def tiny_config(kind="mha", **patch):
    """A complete run of a few milliseconds a step, reading train.bin and val.bin beside it."""
    base = {
        "model": {"vocab_size": VOCAB, "n_layer": 2, "d_model": 32, "max_seq_len": 32, "attention": ATTENTION[kind],
                  "mlp": {"kind": "swiglu", "hidden": 64}},
        "data": {"train": "train.bin", "val": "val.bin", "shuffle": True},
        "optim": {"lr": 3e-3, "schedule": {"kind": "cosine", "warmup_steps": 5}},
        "train": {"steps": 20, "micro_batch": 4, "grad_accum": 2, "seed": 1},
        "eval": {"every_steps": 7, "max_sequences": 8},
        "checkpoint": {"every_steps": 5, "keep_last": 3},
        "runtime": {"device": "cpu"},
    }
    return merged(base, patch)


# ---- Outputs.

def read_metrics(run):
    """The events of RUN/metrics.jsonl; a last line still being written is left out."""
    try:
        text = (Path(run) / "metrics.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]


def events(run, kind):
    return [event for event in read_metrics(run) if event["event"] == kind]


def steps_done(run):
    return sum(event["event"] == "step" for event in read_metrics(run))


def history(run):
    """What a run computed: its step and eval events in file order, without times."""
    times = ("step_ms", "tokens_per_s", "mfu", "eval_ms")
    return [{key: value for key, value in event.items() if key not in times}
            for event in read_metrics(run) if event["event"] in ("step", "eval")]


def checkpoints(run):
    """Oldest first."""
    return sorted(Path(run).glob("checkpoints/step_*"))


def final_tensors(run):
    """Weights and moments of the newest checkpoint, byte by byte, after its name."""
    newest = checkpoints(run)[-1]
    return newest.name, *((newest / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors"))


def final_files(run):
    """The final files that do not depend on the number of ranks. (config.json may have another number of threads.)"""
    return *final_tensors(run), (checkpoints(run)[-1] / "state.json").read_bytes()


class Tensor(NamedTuple):
    dtype: str
    shape: list
    data: bytes

    def floats(self):
        assert self.dtype == "F32", self.dtype
        return array.array("f", self.data)


def read_safetensors(path):
    raw = Path(path).read_bytes()
    length, = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8:8 + length])
    header.pop("__metadata__", None)
    data = raw[8 + length:]
    return {name: Tensor(entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])])
            for name, entry in header.items()}


def safetensors_bytes(tensors):
    header, at = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [at, at + len(tensor.data)]}
        at += len(tensor.data)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(tensor.data for tensor in tensors.values())


# ---- The test case.

class AppTest(unittest.TestCase):
    """All tests of a file share one folder, with data in it; `fresh` names unused paths there."""

    folder = None
    _numbers = itertools.count()

    @classmethod
    def setUpClass(cls):
        if AppTest.folder:
            return
        AppTest.folder = Path(tempfile.mkdtemp(prefix="saslm_"))
        unittest.addModuleCleanup(shutil.rmtree, AppTest.folder)
        write_shard(cls.folder / "train.bin", sample_tokens(6000, seed=1))
        write_shard(cls.folder / "val.bin", sample_tokens(1200, seed=2))

    @classmethod
    def fresh(cls, name="run"):
        return cls.folder / f"{name}_{next(cls._numbers)}"

    @classmethod
    def write_config(cls, config, name=None):
        path = cls.folder / name if name else cls.fresh("config").with_suffix(".json")
        path.write_text(config if isinstance(config, str) else json.dumps(config, indent=1))
        return path

    def run_ok(self, *args, **kwargs):
        result = saslm(*args, **kwargs)
        self.assertEqual(result.code, DONE, f"{args}\n{result.err}")
        return result

    def run_json(self, *args, **kwargs):
        """The one JSON object that --json promises on stdout."""
        found = json.loads(self.run_ok(*args, "--json", **kwargs).out)
        self.assertIsInstance(found, dict)
        return found

    def train(self, config, *args, **kwargs):
        """A finished run of `config` (a dict) in a new folder."""
        run = self.fresh()
        self.run_ok("train", self.write_config(config), "--run-dir", run, *args, **kwargs)
        return run
