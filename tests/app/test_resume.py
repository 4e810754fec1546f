#!/usr/bin/env python3
"""A run that is interrupted and resumed, anywhere and any number of times, is bit-identical to an uninterrupted one."""
import contextlib
import random
import shutil
import signal
import time
from pathlib import Path

import harness
from harness import DONE, STOPPED, Process, checkpoints, history, saslm, steps_done
from resuming import EVAL_EVERY, SAVE_EVERY, STEPS, ResumeTest, endless_config


class Reference(ResumeTest):
    def test_every_step_and_evaluation_is_on_record_once_and_in_order(self):
        for kind, run in self.reference.items():
            steps = [event["step"] for event in history(run) if event["event"] == "step"]
            self.assertEqual(steps, list(range(STEPS)))
            evals = [event["step"] for event in history(run) if event["event"] == "eval"]
            self.assertEqual(evals, [*range(0, STEPS, EVAL_EVERY), STEPS])
            sequences = 16 * 32
            self.assertEqual([e["tokens"] for e in history(run) if e["event"] == "step"],
                             [sequences * (step + 1) for step in range(STEPS)], kind)

    def test_a_run_that_learns_nothing_would_prove_nothing(self):
        for run in self.reference.values():
            losses = [event["loss"] for event in history(run) if event["event"] == "step"]
            self.assertLess(losses[-1], losses[0] - 0.5)
            self.assertEqual(len(set(losses)), STEPS)

    def test_a_finished_run_started_again_does_nothing(self):
        run = self.interrupted_copy("sas")
        before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.glob("checkpoints/*/*")}
        self.assertEqual(self.finish("sas", run).code, DONE)
        after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.glob("checkpoints/*/*")}
        self.assertTrue(before == after, "a checkpoint was touched")

    def test_the_bits_do_not_depend_on_the_number_of_threads(self):
        for kind in ("sas", "mha"):
            for said, threads in (("environment", 2), ("config", 3)):
                with self.subTest(kind=kind, said=said, threads=threads):
                    in_config = ["--set", f"runtime.threads={threads}"] if said == "config" else []
                    env = {} if said == "config" else {"OMP_NUM_THREADS": str(threads)}
                    done = self.finish(kind, self.fresh(), *in_config, env=env)
                    self.assertIn(f"{threads} threads", done.err)


class Recomputed(ResumeTest):
    def test_a_run_goes_on_with_the_same_bits_whatever_each_start_recomputes(self):
        run = self.fresh()
        for setting in ("block", "sim", "none", "block"):
            done = self.finish("sas", run, "--set", f"runtime.recompute={setting}")
            self.assertNotIn("changed", done.err)
            shutil.rmtree(checkpoints(run)[-1])


class Killed(ResumeTest):
    KILLS = 20

    def test_between_a_checkpoint_and_its_event_the_event_is_made_up_for(self):
        keys = ("step", "path", "bytes", "state_hash")
        run = self.fresh()
        self.finish("mha", run)
        shutil.rmtree(checkpoints(run)[-1])
        newest = STEPS - SAVE_EVERY
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
        there = [event for event in harness.events(run, "checkpoint") if event["step"] <= newest]
        (run / "metrics.jsonl").write_text("".join(
            line for line in lines if not line.startswith(f'{{"event":"checkpoint","step":{newest},')))
        self.finish("mha", run)
        events = harness.events(run, "checkpoint")
        self.assertEqual([[event[key] for key in keys] for event in events[:-1]],
                         [[event[key] for key in keys] for event in there])
        self.assertEqual((events[-2]["save_ms"], events[-2]["stall_ms"]), (None, None))
        self.assertEqual(events[-1]["bytes"], sum(path.stat().st_size for path in checkpoints(run)[-1].iterdir()))
        self.finish("mha", run)
        self.assertEqual(len(harness.events(run, "checkpoint")), len(events), "an event that is there was made again")

    def kill_once(self, kind, run, draw):
        """Starts the run and kills it: at a step, a random time after it, or inside a checkpoint being written.
        The number of steps on record when it died; nothing if it ended before."""
        with self.background(kind, run, "--resume", "auto") as process:
            if draw.random() < 0.3:
                due = lambda: any(run.glob("checkpoints/.tmp_*"))
            else:
                at_step = steps_done(run) + draw.randrange(0, 9)
                due = lambda: steps_done(run) >= at_step
            if not process.wait_until(due):
                return None
            time.sleep(draw.uniform(0, 0.01))
            process.send(signal.SIGKILL)
            return steps_done(run) if process.wait().code == -signal.SIGKILL else None

    def survive(self, kind):
        """As many runs as it takes to kill KILLS times; each must end like the reference."""
        draw = random.Random(f"kills of {kind}")
        killed_at = []
        while len(killed_at) < self.KILLS:
            run = self.fresh()
            while len(killed_at) < self.KILLS:
                at = self.kill_once(kind, run, draw)
                if at is None:
                    break
                killed_at.append(at)
            self.finish(kind, run)
        inside = {at for at in killed_at if 0 < at < STEPS}
        self.assertGreaterEqual(len(inside), 4, f"too few of the kills landed inside the run: {killed_at}")

    def test_sas_killed_twenty_times_ends_with_the_same_bits(self):
        self.survive("sas")

    def test_mha_killed_twenty_times_ends_with_the_same_bits(self):
        self.survive("mha")

    def test_a_torn_line_of_metrics_is_dropped_and_said(self):
        run = self.interrupted_copy("mha")
        shutil.rmtree(checkpoints(run)[-1])
        with (run / "metrics.jsonl").open("a") as log:
            log.write('{"event":"step","step":5')
        self.assertIn("metrics.jsonl", self.finish("mha", run).err)


def threads_of(pid):
    """The status of every thread of a process, by field."""
    tasks = []
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        with contextlib.suppress(OSError):  # a thread may just have ended
            tasks.append(dict(line.split(":\t", 1) for line in path.read_text().splitlines()))
    return tasks


class Stopped(ResumeTest):
    def stop(self, kind, run, number):
        with self.background(kind, run) as process:
            self.assertTrue(process.wait_until(lambda: steps_done(run) >= 3), "the run ended before the signal")
            process.send(number)
            return process.wait()

    def expect_saved(self, run):
        newest = checkpoints(run)[-1]
        self.assertEqual(saslm("inspect", newest).code, DONE)
        self.assertEqual(newest.name, f"step_{steps_done(run):08}", "the newest step is not the one saved")

    def test_no_thread_that_computes_runs_a_signal_handler(self):
        """oneDNN's generated code uses the stack pointer for other things: a handler's frame would land in the heap."""
        with self.background("sas", self.fresh(), env={"OMP_NUM_THREADS": "2"}) as process:
            self.assertTrue(process.wait_until(lambda: len(threads_of(process.pid)) >= 3), "two threads and a watcher")
            threads = threads_of(process.pid)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                among = lambda field: [t for t in threads if int(t[field], 16) >> (number - 1) & 1]
                self.assertEqual(among("SigCgt"), [], f"{number} has a handler")
                self.assertEqual(len(among("SigBlk")), len(threads) - 1, f"{number}: all but the thread that waits block it")

    def test_a_signal_saves_and_exits_75_and_the_run_goes_on_with_the_same_bits(self):
        cases = ("sas", signal.SIGTERM, 1), ("mha", signal.SIGINT, 2), ("sas", signal.SIGUSR1, 1)
        for kind, number, threads in cases:
            with self.subTest(kind=kind, signal=number):
                run = self.fresh()
                done = self.stop(kind, run, number)
                self.assertEqual(done.code, STOPPED, done.err)
                self.assertLess(steps_done(run), STEPS)
                self.expect_saved(run)
                self.finish(kind, run, env={"OMP_NUM_THREADS": str(threads)})

    def test_max_minutes_saves_and_exits_75_and_the_run_goes_on_with_the_same_bits(self):
        run, minutes, stops = self.fresh(), 1e-9, 0  # the first start is stopped before its first evaluation is done
        while (done := self.train_on("sas", run, "--max-minutes", minutes)).code != DONE:
            self.assertEqual(done.code, STOPPED, done.err)
            self.expect_saved(run)
            self.assertTrue(steps_done(run) == 0 or stops > 0)
            minutes, stops = max(2 * minutes, 0.0004), stops + 1
        self.assertGreater(stops, 1)
        self.expect_same_as_reference("sas", run)

    def test_a_second_signal_ends_the_program_at_once(self):
        run = self.fresh()
        with Process("train", self.write_config(endless_config()), "--run-dir", run) as process:
            self.assertTrue(process.wait_until(lambda: harness.events(run, "start")))
            for number in (signal.SIGTERM, signal.SIGTERM):
                time.sleep(0.1)
                self.assertTrue(process.running(), "the first signal waits for the end of the step")
                process.send(number)
            self.assertEqual(process.wait().code, -signal.SIGTERM)


if __name__ == "__main__":
    harness.main()
