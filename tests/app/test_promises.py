#!/usr/bin/env python3
"""No memory, a clock that jumps, a read-only disk, a signal at any moment, a loss spike: nothing is lost or silent.
docs/reliability.md lists what is promised, and which test shows it.
"""
import collections
import os
import random
import re
import resource
import shutil
import signal
import subprocess

import faults
import harness
from faults import INTERPOSED, STEPS, FaultTest
from harness import DONE, MACHINE, STOPPED, USER, Process, checkpoints, saslm, steps_done


class Memory(FaultTest):
    """Every place that allocates memory fails once."""
    REFUSALS = int(os.environ.get("SASLM_REFUSALS", 200))  # 0: all places
    # Where libraries end the process themselves: glibc when it cannot register a thread's scratch, GCC's OpenMP, and
    # oneDNN 2.6, which runs into its own null pointer where it makes the code of the first product.
    LIBRARIES = {-signal.SIGABRT: "Fatal glibc error: failed to register TLS destructor: out of memory",
                 MACHINE: "libgomp: Out of memory", -signal.SIGSEGV: "data.train: "}

    def allocations(self, *args, run=None, least=0):
        log = self.fresh("allocations")
        done = saslm("train", self.config, "--run-dir", run or self.fresh(), *args,
                     env={"LD_PRELOAD": INTERPOSED, "FAULTS_MEMORY_LOG": str(log), "FAULTS_MEMORY_LEAST": str(least)})
        self.assertEqual(done.code, DONE, done.err)
        return [tuple(map(int, line.split())) for line in log.read_text().splitlines()] if log.exists() else []

    def places(self, run=None):
        """The number of the first allocation of each place: of all that have the same callers."""
        first = {}
        for number, _, callers in self.allocations(run=run):
            first.setdefault(callers, number)
        numbers = sorted(first.values())
        if 0 < self.REFUSALS < len(numbers):
            numbers = sorted(random.Random("refusals").sample(numbers, self.REFUSALS))
        return numbers

    def half_done(self):
        run = self.fresh()
        shutil.copytree(self.reference, run)
        shutil.rmtree(checkpoints(run)[-1])
        return run

    def each_refused(self, numbers, at, new_run):
        ended = crashed = 0
        self.assertGreater(len(numbers), 50)
        for number in numbers:
            run = new_run()
            env = {"LD_PRELOAD": INTERPOSED, "FAULTS_MEMORY_AT": at.format(number)}
            with self.subTest(number=number):
                done = saslm("train", self.config, "--run-dir", run, env=env)
                if done.code != DONE:
                    self.ended_for_want_of_memory(done)
                    self.assertTrue(done.code != -signal.SIGSEGV or "] step 1/" not in done.err, done.err)
                    ended += 1
                    crashed += done.code < 0
                if run.exists():
                    self.ends_like_the_reference(run, at_least=STEPS if done.code == DONE else 0)
        self.assertGreater(ended, len(numbers) // 2, "few refusals were noticed")
        self.assertLess(crashed, len(numbers) // 20)

    def ended_for_want_of_memory(self, done):
        if self.LIBRARIES.get(done.code, "saslm: ") not in done.err:
            self.ended_with_one_clear_word(done)
            self.assertIn("memory", done.err)

    def test_that_is_refused_once_at_any_place_ends_the_run_or_changes_nothing(self):
        self.each_refused(self.places(), "{}", self.fresh)

    def test_that_is_refused_once_at_any_place_of_a_run_that_goes_on(self):
        self.each_refused(self.places(self.half_done()), "{}", self.half_done)

    def test_that_is_refused_from_then_on_ends_the_run_too(self):
        self.each_refused(self.places()[::2], "{}+", self.fresh)

    def test_of_a_page_or_more_is_asked_for_by_no_later_step_but_to_pack_a_product(self):
        few, many = (self.allocations("--set", f"train.steps={steps}", "--set", "eval.every_steps=0",
                                      "--set", "checkpoint.every_steps=0", least=4096) for steps in (8, 40))
        later = collections.Counter(size for _, size, _ in many) - collections.Counter(size for _, size, _ in few)
        self.assertLessEqual(len(later), 1, "more than oneDNN's packing buffer, which comes and goes with every product")

    def test_too_few_addresses_are_seen_by_the_plan(self):
        limit = 1 << 30
        large = self.write_config(harness.merged(faults.CONFIG, {"model": {"d_model": 4096, "mlp": {"hidden": 16384}}}))
        needed = self.run_json("plan", large)["arena_bytes"]
        self.assertGreater(needed, limit)
        for config, code in (large, USER), (self.config, DONE):
            run = self.fresh()
            done = subprocess.run([os.environ["SASLM"], "train", config, "--run-dir", run], capture_output=True, text=True,
                                  env={**os.environ, "OMP_NUM_THREADS": "1"},
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertEqual(run.exists(), code == DONE)
            if code == USER:
                there_are = re.search(f"does not fit into memory: it needs {needed} bytes, there are ([0-9]+);", done.stderr)
                self.assertLess(int(there_are[1]), limit)


class Threads(FaultTest):
    def without(self, first, run):
        return saslm("train", self.config, "--run-dir", run,
                     env={"LD_PRELOAD": INTERPOSED, "FAULTS_THREADS_FROM": str(first)})

    def test_a_save_that_gets_none_is_made_all_the_same(self):
        run = self.fresh()
        done = self.without(1, run)  # the first waits for signals
        self.assertEqual(done.code, DONE, done.err)
        self.ends_like_the_reference(run, at_least=STEPS)

    def test_a_run_that_gets_none_says_so(self):
        done = self.without(0, self.fresh())
        self.ended_with_one_clear_word(done)
        self.assertIn("cannot start another thread", done.err)


class Signal(FaultTest):
    def stopped_or_done(self, number, run, done):
        self.assertIn(done.code, (STOPPED, DONE), done.err)
        if done.code == STOPPED:
            self.assertIn("stopped and saved", done.err)
            self.assertEqual(saslm("inspect", checkpoints(run)[-1]).code, DONE)
            self.assertEqual(checkpoints(run)[-1].name, f"step_{steps_done(run):08}")
        self.stops += done.code == STOPPED
        self.ends_like_the_reference(run, at_least=STEPS if done.code == DONE else 0)

    def each_stopped(self, operations, of):
        self.stops = 0
        self.each(operations, of, "{}", "term", self.stopped_or_done)
        self.assertGreater(self.stops, len(operations) // 2)

    def test_at_any_operation_that_writes_saves_and_the_run_goes_on(self):
        self.each_stopped(self.writes, "write")

    def test_at_any_line_of_metrics_saves_and_the_run_goes_on(self):
        self.each_stopped(self.appends, "append")

    def test_at_any_read_of_a_checkpoint_saves_and_the_run_goes_on(self):
        self.each_stopped(self.reads, "read")

    def test_while_it_starts_and_reads_config_and_data_saves_and_the_run_goes_on(self):
        log = self.fresh("starting")
        self.run_ok("train", self.config, "--run-dir", self.fresh(), env=self.faults(self.folder, "read", "", "", log))
        starting = [at for at, line in enumerate(log.read_text().splitlines()) if "run_" not in line]
        self.assertGreater(len(starting), 10)
        for number in starting:
            with self.subTest(number=number):
                run = self.fresh()
                done = saslm("train", self.config, "--run-dir", run, env=self.faults(self.folder, "read", number, "term"))
                self.stops = 0
                self.stopped_or_done(number, run, done)


class Clock(FaultTest):
    def test_that_jumps_by_years_changes_no_bit_and_no_duration(self):
        run = self.fresh()
        done = saslm("train", self.config, "--run-dir", run, "--max-minutes", 10,
                     env={"LD_PRELOAD": INTERPOSED, "FAULTS_CLOCK": "jumps"})
        self.assertEqual(done.code, DONE, done.err)
        self.assertEqual(harness.history(run), harness.history(self.reference))
        self.assertTrue(harness.final_files(run) == harness.final_files(self.reference))
        for event in harness.read_metrics(run):
            for duration in ("step_ms", "save_ms", "stall_ms"):
                self.assertTrue(0 <= event.get(duration, 0) < 60_000, event)

    def test_it_does_jump(self):
        env = {**os.environ, "LD_PRELOAD": INTERPOSED, "FAULTS_CLOCK": "jumps"}
        years = {subprocess.run(["python3", "-c", "import time; [time.time() for _ in range(%d)]; print(int(time.time()))" % n],
                                env=env, capture_output=True, text=True, check=True).stdout for n in range(4)}
        self.assertGreater(len({int(year) // 10 ** 8 for year in years}), 2)


class ReadOnly(FaultTest):
    def test_a_run_directory_that_cannot_be_written_is_refused_before_the_first_step(self):
        disk = self.fresh("disk")
        disk.mkdir()
        with faults.skipped_where_nothing_can_be_mounted():
            subprocess.run(["mount", "-t", "tmpfs", "saslm", disk], check=True, capture_output=True)
        try:
            shutil.copytree(self.reference, disk / "run")
            shutil.rmtree(checkpoints(disk / "run")[-1])
            before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True, capture_output=True)
            for run in (disk / "run", disk / "new"):
                with self.subTest(run=run.name):
                    done = saslm("train", self.config, "--run-dir", run)
                    self.ended_with_one_clear_word(done)
                    self.assertIn(str(run), done.err)
                    self.assertIn("Read-only file system", done.err)
                    self.assertNotIn("step", done.err)
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True, capture_output=True)
            self.assertEqual({path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}, before)
            self.ends_like_the_reference(disk / "run")
        finally:
            subprocess.run(["umount", disk], check=True, capture_output=True)


class Spike(FaultTest):
    STEPS, SPIKE, WINDOW = 40, 30, 10

    def test_the_window_of_losses_goes_on_with_the_run(self):
        draw = random.Random(5)
        easy, noise = [1, 2, 3, 4] * 8, [draw.randrange(harness.VOCAB) for _ in range(32)]
        harness.write_shard(self.folder / "leap.bin", (easy * self.SPIKE + noise + easy * 20)[:32 * 45] + [1])
        config = self.write_config(harness.tiny_config(
            "mha", data={"train": "leap.bin", "shuffle": False}, eval={"every_steps": 0},
            train={"steps": self.STEPS, "micro_batch": 1, "grad_accum": 1, "spike_threshold": 8, "spike_window": self.WINDOW},
            checkpoint={"every_steps": 1, "keep_last": self.STEPS}))
        whole = self.fresh()
        self.run_ok("train", config, "--run-dir", whole)
        skipped = [event["step"] for event in harness.events(whole, "step") if "skipped" in event]
        self.assertEqual(skipped, [self.SPIKE])
        for resumed_from in range(self.SPIKE - self.WINDOW, self.SPIKE + 3):
            with self.subTest(resumed_from=resumed_from):
                run = self.fresh()
                shutil.copytree(whole, run)
                for path in checkpoints(run)[resumed_from:]:
                    shutil.rmtree(path)
                self.run_ok("train", config, "--run-dir", run)
                self.assertEqual(harness.events(run, "start")[-1]["resumed_from_step"], resumed_from)
                self.assertEqual(harness.history(run), harness.history(whole))
                self.assertTrue(harness.final_files(run) == harness.final_files(whole))


if __name__ == "__main__":
    harness.main()
