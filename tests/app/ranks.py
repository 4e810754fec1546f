"""Shared by the tests of several ranks: starting them in every way that users do, and small runs to compare.

RanksTest holds, by name, configs and the run of one rank that others must equal.
"""
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
from harness import PATIENCE_S, AppTest, Process, Result, final_tensors, history, saslm, steps_done, tiny_config

MPIRUN = ["mpirun", "--oversubscribe", *(["--allow-run-as-root"] if os.geteuid() == 0 else [])]


def mpirun(*parts):
    """mpirun as a user calls it, each part being (ranks, program, arguments...)."""
    command = [*MPIRUN]
    for number, (ranks, *arguments) in enumerate(parts):
        command += [*([":"] if number else []), "-np", str(ranks), *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S,
                          env=harness._environment(None))
    return Result(done.returncode, done.stdout, done.stderr)


@functools.cache
def without_mpi():
    """Why mpirun cannot start ranks here."""
    if not shutil.which("mpirun"):
        return "there is no mpirun"
    if "Open MPI" not in subprocess.run(["mpirun", "--version"], capture_output=True, text=True).stdout:
        return "mpirun is not Open MPI's"
    probe = saslm("train", AppTest.write_config(tiny_config()), "--run-dir", AppTest.fresh(), "--resume", "must",
                  env={"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"})
    return "this build of saslm has no MPI" if "has no MPI" in probe.err else None


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def as_torchrun(rank, size, port):
    return {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}


@contextlib.contextmanager
def by_hand(environments, *arguments, more=()):
    """Ranks without a launcher, started in this order; `more`: arguments of the last one."""
    with contextlib.ExitStack() as stack:
        ranks = []
        for env in environments:
            own = more if env is environments[-1] else ()
            ranks.append(stack.enter_context(Process("train", *arguments, *own, env=env)))
            time.sleep(0.1)
        yield ranks


def children(pid):
    """In the order of their start."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    return False


def left_after(patience_s, pids):
    """The processes that are left after this time; they are then killed."""
    deadline = time.monotonic() + patience_s
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


# ---- The test case.

STEPS, LONG = 30, 150
TIMEOUT_S = 8  # where a rank hangs; a disk that others use may keep rank 0 busy with a checkpoint for a while
MOH = {"kind": "moh", "n_head": 4, "head_dim": 8, "moh": {"n_shared_head": 1, "top_k": 2, "balance_weight": 0.01}}


def config_of(kind, **patch):
    """Four micro-batches a step, 4, 2 or 1 on a rank; 7 sequences of evaluation, which no number of ranks divides."""
    base = harness.tiny_config(kind, train={"steps": STEPS, "micro_batch": 2, "grad_accum": None, "global_batch": 8},
                               eval={"every_steps": 10, "max_sequences": 7}, checkpoint={"every_steps": 10})
    return harness.merged(base, patch)


TO_INTERRUPT = {"train": {"steps": LONG, "micro_batch": 16, "global_batch": 64}, "eval": {"every_steps": 0},
                "checkpoint": {"every_steps": 40}}  # steps of some 10 ms
CONFIGS = {
    "mha": config_of("mha"),
    "sas": config_of("sas"),
    "moh": config_of("mha", model={"attention": MOH}),
    "long": config_of("mha", **TO_INTERRUPT),
    "hung": config_of("mha", **TO_INTERRUPT, runtime={"comm_timeout_s": TIMEOUT_S}),
    # Its first step outlasts any test.
    "endless": config_of("mha", train={"micro_batch": 1, "global_batch": 1 << 20}, data={"val": ""}),
}


def as_srun(rank, size, port):
    return {"SLURM_JOB_ID": str(port), "SLURM_STEP_ID": "0", "SLURM_PROCID": str(rank), "SLURM_NODEID": "0",
            "SLURM_STEP_NUM_TASKS": str(size), "SLURM_LOCALID": str(rank), "SLURM_STEP_TASKS_PER_NODE": str(size),
            "SLURM_STEP_NODELIST": "localhost"}


class RanksTest(AppTest):
    config, reference = {}, {}  # by name: the file, and the run of one rank

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in CONFIGS.keys() - cls.config.keys():
            cls.config[name] = cls.write_config(CONFIGS[name])

    def one_rank(self, name):
        if name not in self.reference:
            run = self.fresh(f"{name}_reference")
            self.run_ok("train", self.config[name], "--run-dir", run)
            self.reference[name] = run
        return self.reference[name]

    def expect_same(self, name, run):
        self.assertEqual(history(run), history(self.one_rank(name)))
        self.assertTrue(final_tensors(run) == final_tensors(self.one_rank(name)), "weights or moments differ")

    def go_on(self, name, run, ranks):
        done = self.run_ok("train", self.config[name], "--run-dir", run, "--ranks", ranks)
        self.expect_same(name, run)
        return done

    def await_steps(self, process, run, steps):
        started = lambda: harness.events(run, "start") and steps_done(run) >= steps
        self.assertTrue(process.wait_until(started), "it ended before its first steps")

    @contextlib.contextmanager
    def training(self, name, count, run, steps=3):
        """(launcher, the ranks' processes) once some steps are done; none of them outlives the test."""
        with Process("train", self.config[name], "--ranks", count, "--run-dir", run) as launcher:
            self.await_steps(launcher, run, steps)
            ranks = children(launcher.pid)
            try:
                self.assertEqual(len(ranks), count)
                yield launcher, ranks
            finally:
                left_after(0, ranks)

    def side_by_side(self, check, name, *cases):
        """Cases that mostly wait."""
        self.one_rank(name)  # which they share
        with ThreadPoolExecutor(len(cases)) as pool:
            for case in [pool.submit(check, *case) for case in cases]:
                case.result()

    def said_once(self, phrase, err):
        self.assertEqual(err.count(phrase), 1, err)
