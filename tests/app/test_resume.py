#!/usr/bin/env python3
"""A run that is interrupted and resumed, anywhere and any number of times, is bit-identical to an uninterrupted one."""
import contextlib
import json
import random
import shutil
import signal
import time
from pathlib import Path

import harness
from harness import DONE, STOPPED, USER, AppTest, Process, checkpoints, final_files, history, saslm, steps_done

STEPS, EVAL_EVERY, SAVE_EVERY = 60, 7, 5


def config_of(kind, **patch):
    """Steps long enough (milliseconds) for a kill to land inside one."""
    base = harness.tiny_config(kind, train={"steps": STEPS, "micro_batch": 8, "grad_accum": 2},
                               eval={"every_steps": EVAL_EVERY},
                               checkpoint={"every_steps": SAVE_EVERY})
    return harness.merged(base, patch)


def endless_config():
    """Its first step outlasts any test."""
    return config_of("mha", train={"micro_batch": 1, "grad_accum": 1048576}, data={"val": ""})


class ResumeTest(AppTest):
    config, reference = {}, {}  # by kind: the file, and the run that was never interrupted

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for kind in {"sas", "mha"} - cls.reference.keys():
            cls.config[kind] = cls.write_config(config_of(kind))
            cls.reference[kind] = cls.fresh(f"{kind}_reference")
            done = cls.train_on(kind, cls.reference[kind])
            assert done.code == DONE, done.err

    @classmethod
    def train_on(cls, kind, run, *args, **kwargs):
        return saslm("train", cls.config[kind], "--run-dir", run, *args, **kwargs)

    def background(self, kind, run, *args, **kwargs):
        return Process("train", self.config[kind], "--run-dir", run, *args, **kwargs)

    def expect_same_as_reference(self, kind, run):
        self.assertEqual(checkpoints(run)[-1].name, f"step_{STEPS:08}")
        self.assertTrue(final_files(run) == final_files(self.reference[kind]), "the final state differs")
        self.assertEqual(history(run), history(self.reference[kind]))

    def finish(self, kind, run, *args, **kwargs):
        done = self.train_on(kind, run, "--resume", "auto", *args, **kwargs)
        self.assertEqual(done.code, DONE, done.err)
        self.expect_same_as_reference(kind, run)
        return done

    def interrupted_copy(self, kind):
        """A copy of a finished run, without its newest checkpoint."""
        run = self.fresh()
        shutil.copytree(self.reference[kind], run)
        return run


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


class Damaged(ResumeTest):
    def newest_damaged(self, damage):
        run = self.interrupted_copy("sas")
        damage(checkpoints(run)[-1])
        return run

    def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_used(self):
        def truncate(name):
            return lambda path: (path / name).write_bytes((path / name).read_bytes()[:-2])

        def flip(name, where):
            def damage(path):
                raw = bytearray((path / name).read_bytes())
                raw[int(where * len(raw))] ^= 0x10
                (path / name).write_bytes(raw)
            return damage

        def remove(name):
            return lambda path: (path / name).unlink()

        def swap(path):
            (path / "model.safetensors").write_bytes((path.parent / "step_00000055/model.safetensors").read_bytes())

        cases = {
            "truncated optimizer": (truncate("optimizer.safetensors"), "optimizer.safetensors"),
            "truncated model": (truncate("model.safetensors"), "model.safetensors"),
            "truncated manifest": (truncate("manifest.json"), "manifest.json"),
            "flipped weight": (flip("model.safetensors", 0.7), "model.safetensors"),
            "flipped moment": (flip("optimizer.safetensors", 0.9), "optimizer.safetensors"),
            "flipped header": (flip("model.safetensors", 0.001), "model.safetensors"),
            "flipped state": (flip("state.json", 0.5), "state.json"),
            "flipped config": (flip("config.json", 0.5), "config.json"),
            "flipped manifest": (flip("manifest.json", 0.5), "manifest.json"),
            "no manifest": (remove("manifest.json"), "manifest.json"),
            "no model": (remove("model.safetensors"), "model.safetensors"),
            "no state": (remove("state.json"), "state.json"),
            "another step's weights": (swap, "model.safetensors"),
        }
        for name, (damage, file) in cases.items():
            with self.subTest(name):
                run = self.newest_damaged(damage)
                done = self.finish("sas", run)
                self.assertIn("warning", done.err)
                self.assertIn(f"step_{STEPS:08}", done.err)
                self.assertIn(file, done.err)
                self.assertIn(f"resumed from {run}/checkpoints/step_{STEPS - SAVE_EVERY:08}", done.err)

    def test_when_all_are_damaged_nothing_is_trained(self):
        run = self.interrupted_copy("sas")
        for path in checkpoints(run):
            (path / "manifest.json").unlink()
        before = (run / "metrics.jsonl").read_bytes()
        for resume in ("auto", "must"):
            done = self.train_on("sas", run, "--resume", resume)
            self.assertEqual(done.code, USER, done.err)
            self.assertIn("damaged", done.err)
        self.assertEqual((run / "metrics.jsonl").read_bytes(), before)


class Refused(ResumeTest):
    def refused(self, phrase, *args):
        done = saslm(*args)
        self.assertEqual(done.code, USER, done.err)
        self.assertIn(phrase, done.err)
        self.assertEqual(done.out, "")

    def test_must_wants_a_checkpoint(self):
        run = self.fresh()
        self.refused("--resume must", "train", self.config["mha"], "--run-dir", run, "--resume", "must")
        self.assertEqual(steps_done(run), 0)

    def test_never_refuses_a_used_directory(self):
        run = self.interrupted_copy("mha")
        self.refused("--resume never", "train", self.config["mha"], "--run-dir", run, "--resume", "never")
        self.expect_same_as_reference("mha", run)

    def test_another_run_is_not_continued_and_the_field_is_named(self):
        run = self.interrupted_copy("sas")
        shutil.rmtree(checkpoints(run)[-1])
        harness.write_shard(self.folder / "other.bin", harness.sample_tokens(6000, seed=3))
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
        cases = {
            "model.n_layer=3": "model.n_layer: 2 in the checkpoint, 3 now",
            "model.attention.sas.kernel_size=5": "model.attention.sas.kernel_size",
            "model.tie_embeddings=false": "model.tie_embeddings",
            "model.norm.eps=1e-6": "model.norm.eps",
            "train.seed=2": "train.seed: 1 in the checkpoint, 2 now",
            "train.seq_len=16": "train.seq_len",
            "train.grad_accum=3": "train.sequences_per_step",
            "data.shuffle=false": "data.shuffle",
            "data.train=other.bin": "data.train",
            'data.train=["train.bin","other.bin"]': "data.train",
        }
        for change, phrase in cases.items():
            with self.subTest(change):
                self.refused(phrase, "train", self.config["sas"], "--run-dir", run, "--set", change)
        after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
        self.assertTrue(before == after, "a refused start changed the run")

    def test_another_kind_is_not_continued(self):
        run = self.interrupted_copy("sas")
        self.refused("model.attention.kind", "train", self.config["mha"], "--run-dir", run)

    def test_what_may_change_is_said(self):
        run = self.interrupted_copy("mha")
        shutil.rmtree(checkpoints(run)[-1])
        done = self.train_on("mha", run, "--set", "optim.lr=0.001", "--set", "checkpoint.keep_last=1")
        self.assertEqual(done.code, DONE, done.err)
        self.assertIn("changed since the checkpoint: optim.lr: 0.003 in the checkpoint, 0.001 now", done.err)
        self.assertEqual(json.loads((run / "config.json").read_text())["optim"]["lr"], 0.001)

    def test_what_the_run_is_computed_by_is_on_record_and_another_build_is_said(self):
        run = self.interrupted_copy("mha")
        shutil.rmtree(checkpoints(run)[-1])
        state = json.loads((checkpoints(run)[-1] / "state.json").read_text())
        start = harness.events(run, "start")[0]
        self.assertEqual([start[key] for key in ("device", "precision")], ["cpu", "fp32"])
        self.assertEqual([start[key] for key in ("device", "precision", "build")],
                         [state[key] for key in ("device", "precision", "build")])
        said = "another build of saslm saved the checkpoint"
        other = harness.another_build(self.fresh("saslm"))
        done = self.train_on("mha", run, "--device", "auto", program=other)
        self.assertEqual(done.code, DONE, done.err)
        self.assertIn(said, done.err)
        self.assertNotIn("warning", done.err)
        self.assertNotEqual(harness.events(run, "start")[-1]["build"], start["build"])
        self.assertNotIn(said, self.train_on("mha", run, program=other).err)
        self.assertIn(said, self.train_on("mha", run).err)

    def test_a_directory_in_use_is_refused_until_its_holder_is_gone(self):
        run = self.fresh()
        with Process("train", self.write_config(endless_config()), "--run-dir", run) as holder:
            self.assertTrue(holder.wait_until(lambda: harness.events(run, "start")))
            before = (run / "metrics.jsonl").read_bytes()
            self.refused("in use", "train", self.config["mha"], "--run-dir", run)
            self.assertEqual((run / "metrics.jsonl").read_bytes(), before)
            self.assertTrue(holder.running())
            holder.send(signal.SIGKILL)
            holder.wait()
        self.finish("mha", run)

    @contextlib.contextmanager
    def deleted_while_in_use(self, run):
        """The process that uses it, which stands still."""
        with Process("train", self.write_config(config_of("mha", train={"steps": 10**6})), "--run-dir", run) as holder:
            self.assertTrue(holder.wait_until(lambda: steps_done(run) > 3))
            holder.send(signal.SIGSTOP)
            shutil.rmtree(run)
            yield holder

    def test_a_directory_that_was_deleted_and_taken_by_another_run_is_left_to_that_one(self):
        run = self.fresh()
        with self.deleted_while_in_use(run) as holder:
            self.finish("mha", run)
            holder.send(signal.SIGTERM)
            holder.send(signal.SIGCONT)
            done = holder.wait()
        self.assertEqual(done.code, USER, done.err)
        self.assertIn(f"{run} was taken over by process ", done.err)
        self.expect_same_as_reference("mha", run)

    def test_a_directory_that_was_deleted_is_made_again_and_is_still_in_use(self):
        run = self.fresh()
        with self.deleted_while_in_use(run) as holder:
            holder.send(signal.SIGCONT)
            self.assertTrue(holder.wait_until(lambda: checkpoints(run)))
            self.refused("in use", "train", self.config["mha"], "--run-dir", run)
            holder.send(signal.SIGTERM)
            self.assertEqual(holder.wait().code, STOPPED)
        self.assertEqual(saslm("inspect", checkpoints(run)[-1]).code, DONE)


if __name__ == "__main__":
    harness.main()
