#!/usr/bin/env python3
"""A start skips damaged checkpoints, and refuses, untouched, a run that it may not continue."""
import contextlib
import json
import shutil
import signal

import harness
from harness import DONE, STOPPED, USER, Process, checkpoints, saslm, steps_done
from resuming import SAVE_EVERY, STEPS, ResumeTest, config_of, endless_config


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
