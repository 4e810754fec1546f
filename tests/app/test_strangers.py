#!/usr/bin/env python3
"""Other programs that connect to the ranks' port cannot end, join or delay a run.

A stranger knows the program: it greets as ranks do (src/comm/greeting.h), with everything but the run's secret.
"""
import contextlib
import os
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import harness
from harness import DONE, STOPPED, USER, AppTest, Process, saslm
from ranks import as_torchrun, by_hand, children, free_port

MAGIC, VERSION = 0x6D736C7361738A01, 3
CHALLENGE, OTHER_SECRET, FAILED = 48, 6, 2  # bytes; verdicts
STARTS = 30
CONFIG = harness.tiny_config("mha", model={"n_layer": 1}, data={"val": ""}, eval={"every_steps": 0},
                             optim={"schedule": {"warmup_steps": 0}},
                             train={"steps": 1, "micro_batch": 1, "grad_accum": None, "global_batch": 4})
LISTENS_HERE = "0100007F"  # 127.0.0.1, as /proc/net/tcp has it


def greeting(size=2, rank=1, version=VERSION, channel=0, port=4000, to=0):
    return struct.pack("<QIIIIII", MAGIC, version, size, rank, to, channel, port) + os.urandom(32)


def verdict(text):
    """Of an answer, wherever a challenge came before it; None where there is no more than that."""
    answer = text[CHALLENGE:] if len(text) >= 2 * CHALLENGE else text
    return struct.unpack_from("<QII", answer)[2] if len(answer) > CHALLENGE else None


GREETINGS = {
    "another number of ranks": greeting(size=4),
    "another build": greeting(version=1),
    "a later build": greeting(version=77),
    "rank 1": greeting(),
    "rank 1 of the data": greeting(channel=1),
    "rank 0": greeting(rank=0),
    "a rank beyond all": greeting(rank=2**32 - 1),
    "a guess": greeting() + b"\xff" * 32,
    "rank 1 to another": greeting(to=1) + bytes(32),
    "half of rank 1": greeting()[:24],
    "its magic alone": greeting()[:8],
    "another protocol": b"GET / HTTP/1.1\r\n\r\n",
    "much": bytes(100000),
    "nothing": b"",
}


def asked_of_the_kernel():
    """The ports that somebody on this machine listens at, as the kernel tells who asks for listeners alone."""
    listeners = struct.pack("=BBBBI48x", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 1 << 10)
    request = struct.pack("=IHHII", 16 + len(listeners), 20, 0x301, 1, 0) + listeners  # SOCK_DIAG_BY_FAMILY, a dump
    ports = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 4) as diagnosis:  # NETLINK_SOCK_DIAG
        diagnosis.settimeout(1)
        diagnosis.send(request)
        while True:
            answer, at = diagnosis.recv(1 << 16), 0
            while at + 16 <= len(answer):
                length, kind = struct.unpack_from("=IH", answer, at)
                if kind == 3:  # the end
                    return ports
                if kind != 20:
                    raise OSError("no answer of the kernel's")
                if answer[at + 24:at + 28] == bytes([127, 0, 0, 1]):
                    ports.add(struct.unpack_from(">H", answer, at + 20)[0])
                at += (length + 3) & ~3


def listening_here():
    """The same, as anyone can know; slower where thousands of connections have just ended."""
    with contextlib.suppress(OSError):
        return asked_of_the_kernel()
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {int(line[1].split(":")[1], 16) for line in lines if line[3] == "0A" and line[1].startswith(LISTENS_HERE)}


class Watcher:
    """Attacks every port as soon as a process listens there."""

    def __init__(self):
        self.before, self.met, self.heard, self.over = listening_here(), set(), [], False
        self.open = []
        self.thread = threading.Thread(target=self.watch)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()
        for one in self.open:
            one.close()

    def watch(self):
        while not self.over:
            for port in listening_here() - self.before:
                with contextlib.suppress(OSError):
                    self.attack(port)
            time.sleep(0.001)

    def attack(self, port):
        for text in GREETINGS.values():
            one = socket.create_connection(("127.0.0.1", port), timeout=1)
            self.met.add(port)
            self.open.append(one)
            one.setblocking(False)
            with contextlib.suppress(OSError):
                one.sendall(text)
        time.sleep(0.01)
        for one in self.open:
            with contextlib.suppress(OSError):
                if data := one.recv(4096):
                    self.heard.append(data)
        while len(self.open) > 300:
            self.open.pop(0).close()


class UnderOurLauncher(AppTest):
    def test_a_watcher_ends_none_of_thirty_starts_and_is_told_nothing(self):
        config, met = self.write_config(CONFIG), 0
        for number in range(STARTS):
            run = self.fresh()
            with Watcher() as watcher:
                done = saslm("train", config, "--ranks", 2, "--run-dir", run)
            with self.subTest(number=number):
                self.assertEqual(done.code, DONE, done.err)
                self.assertEqual(harness.steps_done(run), 1)
                self.assertLessEqual({verdict(text) for text in watcher.heard}, {None, OTHER_SECRET, FAILED},
                                     "a stranger was taken for a rank")
            met += bool(watcher.met)
        if met <= STARTS * 2 // 3:  # the ports are open for a tenth of a second
            self.skipTest(f"the watcher met {met} of {STARTS} starts: too late to prove anything")


class ByHand(AppTest):
    """Ranks that were started one by one, so that strangers have all the time they want."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.config = cls.write_config(CONFIG)

    @contextlib.contextmanager
    def rank_0_waits(self, secret=None, size=2, more=()):
        """(it, its port, the environment of the others' kind)"""
        run, port = self.fresh(), free_port()
        secret = {"SASLM_SECRET": secret} if secret else {}
        with by_hand([as_torchrun(0, size, port) | secret], self.config, "--run-dir", run, more=more) as (first,):
            first.run = run
            first.wait_until(lambda: port in listening_here())
            yield first, port, lambda rank, of=size, **env: by_hand(
                [as_torchrun(rank, of, port) | secret | env], self.config, "--run-dir", run)

    def connect(self, stack, port, text):
        one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        with contextlib.suppress(OSError):  # who says much is let go while it does
            one.sendall(text)
        return one

    def all_end_well(self, first, other):
        with other as (second,):
            self.assertEqual((second.wait().code, first.wait().code), (DONE, DONE))

    def test_no_greeting_without_the_secret_is_taken_for_a_rank_or_does_harm(self):
        for secret in (None, "0123456789abcdef" * 2):
            with self.rank_0_waits(secret) as (first, port, start), contextlib.ExitStack() as stack:
                strangers = {name: self.connect(stack, port, text) for name, text in GREETINGS.items()}
                time.sleep(0.5)
                self.assertTrue(first.running())
                for name, one in strangers.items():
                    one.setblocking(False)
                    with self.subTest(name, secret=secret), contextlib.suppress(BlockingIOError, ConnectionResetError):
                        self.assertIn(verdict(one.recv(1000)), (None, OTHER_SECRET, FAILED))
                self.all_end_well(first, start(1))

    def test_without_a_variable_the_secret_is_a_file_for_as_long_as_the_ranks_meet(self):
        with self.rank_0_waits() as (first, port, start):
            run = Path(first.run)
            self.assertEqual((run / ".ranks_secret").stat().st_mode & 0o777, 0o600)
            secret = (run / ".ranks_secret").read_text().strip()
            self.all_end_well(first, start(1))
            self.assertFalse((run / ".ranks_secret").exists())
            for file in run.rglob("*"):
                self.assertNotIn(secret.encode(), file.read_bytes() if file.is_file() else b"")
            self.assertNotIn(secret, first.wait().err)

    def test_the_secret_of_our_launcher_is_in_no_command_line(self):
        with Process("train", self.config, "--ranks", "2", "--run-dir", self.fresh(), "--set", "train.steps=400") as run:
            def environments():
                return [Path(f"/proc/{child}/environ").read_bytes() for child in children(run.pid)]

            run.wait_until(lambda: [b"SASLM_SECRET=" in one for one in environments()] == [True, True])
            for child, environment in zip(children(run.pid), environments()):
                secret = environment.partition(b"SASLM_SECRET=")[2].partition(b"\0")[0]
                self.assertEqual(len(secret), 64)
                self.assertNotIn(secret, Path(f"/proc/{child}/cmdline").read_bytes())

    def test_many_who_say_nothing_or_little_hold_nobody_up(self):
        with self.rank_0_waits("ab" * 16) as (first, port, start), contextlib.ExitStack() as stack:
            slow = [self.connect(stack, port, greeting()[:number % 60]) for number in range(400)]
            since = time.monotonic()
            with start(1) as (second,):
                while second.running() and time.monotonic() < since + 20:
                    for number, one in enumerate(slow):  # a byte now and then
                        with contextlib.suppress(OSError):
                            one.sendall(greeting()[number % 64:number % 64 + 1])
                    time.sleep(0.05)
                self.assertEqual((second.wait().code, first.wait().code), (DONE, DONE))

    def test_a_flood_of_connections_holds_nobody_up(self):
        over = threading.Event()

        def flood(port):
            while not over.is_set():
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()

        with self.rank_0_waits("ab" * 16) as (first, port, start):
            threads = [threading.Thread(target=flood, args=(port,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            try:
                time.sleep(0.5)
                self.all_end_well(first, start(1))
            finally:
                over.set()
                for thread in threads:
                    thread.join()

    def test_a_second_process_as_a_rank_is_refused_and_the_first_is_not(self):
        with self.rank_0_waits(size=4) as (first, _, start), start(1) as (second,):
            time.sleep(0.7)
            with start(1) as (another,):
                done = another.wait()
            self.assertEqual(done.code, USER, done.err)
            self.assertIn("two processes were started as rank 1 (RANK)", done.err)
            self.assertTrue(first.running() and second.running())
            self.ended_by_a_signal(first, "was started as rank 1, which is already taken (RANK)")

    def ended_by_a_signal(self, first, phrase):
        """And has said that."""
        time.sleep(2)
        first.send(signal.SIGTERM)
        done = first.wait()
        self.assertEqual(done.code, STOPPED, done.err)
        self.assertIn(phrase, done.err)

    def test_a_rank_of_another_number_learns_it_and_the_others_are_told(self):
        with self.rank_0_waits() as (first, _, start):
            with start(1, of=4) as (other,):
                done = other.wait()
            self.assertEqual(done.code, USER, done.err)
            self.assertRegex(done.err, r"rank 0 at localhost:\d+ as one of 2, rank 1 as one of 4 \(WORLD_SIZE\)")
            self.ended_by_a_signal(first, "a rank from 127.0.0.1 that was started as one of 4, wanted 2 (WORLD_SIZE)")

    def test_a_rank_with_a_secret_that_rank_0_has_not_learns_it(self):
        with self.rank_0_waits() as (first, _, start):
            with start(1, SASLM_SECRET="ab" * 16) as (other,):
                done = other.wait()
            self.assertEqual(done.code, USER, done.err)
            self.assertIn("was started without the SASLM_SECRET of this rank", done.err)
            self.all_end_well(first, start(1))

    def test_a_rank_in_another_run_directory_is_told_what_to_set(self):
        with by_hand([as_torchrun(1, 2, free_port())], self.config, "--run-dir", self.fresh(), "--set",
                     "runtime.comm_timeout_s=3") as (other,):
            done = other.wait()
        self.assertRegex(done.err, r"rank 1 is waiting for rank 0 to write .*/\.ranks_secret, where it has no SASLM_SECRET")
        self.assertRegex(done.err, r"rank 0 wrote no .*/\.ranks_secret, which proves that ranks belong together, within 3 s .*; start all "
                                   "2 ranks, with a --run-dir that the machines share, or one SASLM_SECRET")

    def test_what_is_too_short_to_be_a_secret_is_refused_and_not_shown(self):
        done = saslm("train", self.config, "--run-dir", self.fresh(), env=as_torchrun(0, 2, 4000) | {"SASLM_SECRET": "open sesame"})
        self.assertEqual(done.code, USER, done.err)
        self.assertIn("SASLM_SECRET should be of 32 characters or more", done.err)
        self.assertNotIn("sesame", done.err)


if __name__ == "__main__":
    harness.main()
