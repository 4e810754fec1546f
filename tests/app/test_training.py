#!/usr/bin/env python3
"""What a run costs, how it starts, and how it handles bad steps."""
import json
import math
import random
import shutil
import struct
from pathlib import Path

import harness
from harness import DIVERGED, DONE, USER, AppTest, Process, checkpoints, events, saslm, tiny_config


class Cost(AppTest):
    def plan(self, config):
        return self.run_json("plan", self.write_config(config))

    def test_several_plans_stand_side_by_side(self):
        paths = [self.write_config(tiny_config(kind)) for kind in ("mha", "sas")]
        alone = [self.run_json("plan", path) for path in paths]
        self.assertEqual(self.run_json("plan", *paths), {"plans": alone})
        text = self.run_ok("plan", *paths).out
        rows = [line.split() for line in text.splitlines()]
        self.assertIn([Path(path).stem for path in paths], rows)
        self.assertIn(["total"] + [str(p["parameters"]) for p in alone], rows)
        sas = alone[1]["parameters_by_part"]["sas"]
        self.assertIn(["sas", "-", str(sas)], rows)
        more = 100 * (alone[1]["parameters"] / alone[0]["parameters"] - 1)
        self.assertIn(["against", "the", "first", "+0.00", "%", f"{more:+.2f}", "%"], rows)

    def test_the_plan_is_what_the_run_takes(self):
        for kind in harness.ATTENTION:
            config = tiny_config(kind)
            with self.subTest(kind):
                plan, run = self.plan(config), self.train(config)
                start = events(run, "start")[0]
                self.assertEqual(plan["arena_bytes"], start["arena_bytes"])
                self.assertEqual(sum(plan["bytes_by_region"].values()), plan["arena_bytes"])
                kept = [size for name, size in plan["bytes_by_buffer"].items() if name.startswith("activations ")]
                self.assertLess(abs(sum(kept) / plan["bytes_by_region"]["activations"] - 1), 0.02)  # rounded to lines
                self.assertEqual(plan["parameters"], start["parameters"])
                tensors = harness.read_safetensors(checkpoints(run)[-1] / "model.safetensors").values()
                self.assertEqual(sum(math.prod(t.shape) for t in tensors), plan["parameters"])
                self.assertEqual(sum(plan["parameters_by_part"].values()), plan["parameters"])
                self.assertEqual(plan["tokens_total"], events(run, "step")[-1]["tokens"])

    def expect_checkpoint_size(self, config):
        predicted, run = self.plan(config)["checkpoint_bytes"], self.train(config)
        real = sum(path.stat().st_size for path in checkpoints(run)[-1].iterdir())
        self.assertLessEqual(abs(predicted - real), 64 << 10, f"predicted {predicted}, found {real}")

    def test_a_checkpoint_is_as_large_as_planned(self):
        for kind in harness.ATTENTION:
            with self.subTest(kind):
                self.expect_checkpoint_size(tiny_config(kind))

    def test_a_checkpoint_of_many_tensors_is_as_large_as_planned(self):
        self.expect_checkpoint_size(tiny_config("sas", model={"n_layer": 24, "bias": True}, train={"steps": 5}))

    def larger_config(self, kind):
        """Large enough that a leak of one activation a step would show."""
        return tiny_config(kind, model={"d_model": 128, "max_seq_len": 64, "n_layer": 3},
                           train={"steps": 30, "micro_batch": 4}, checkpoint={"every_steps": 10},
                           eval={"every_steps": 10})

    def watch(self, config, *args):
        """(peak resident size, [resident size at a look, from step 5 on]) of a training run, in bytes."""
        run, sizes = self.fresh(), []
        with Process("train", self.write_config(config), "--run-dir", run, *args) as process:
            def looked_to_the_end():
                try:
                    with open(f"/proc/{process.pid}/status") as status:
                        fields = dict(line.split(":", 1) for line in status)
                except (FileNotFoundError, ProcessLookupError):
                    return False
                if "VmRSS" in fields and harness.steps_done(run) >= 5:
                    sizes.append(1024 * int(fields["VmRSS"].split()[0]))
                return False
            process.wait_until(looked_to_the_end)
            result = process.wait()
            self.assertEqual(result.code, DONE, result.err)
        return process.peak_bytes, sizes

    def test_memory_stays_within_the_plan_and_does_not_grow(self):
        for kind in ("mha", "sas"):
            for threads in ("1", "2"):
                with self.subTest(kind=kind, threads=threads):
                    config = self.larger_config(kind)
                    peak, sizes = self.watch(config, "--set", f"runtime.threads={threads}")
                    self.assertLessEqual(peak, self.plan(config)["arena_bytes"] + 100 * 2**20)
                    self.assertGreaterEqual(len(sizes), 10, "too few looks to see it grow")
                    self.assertLessEqual(max(sizes) - sizes[0], 2 * 2**20, f"from {sizes[0]} to {max(sizes)}")

    def test_a_run_larger_than_a_hundred_megabytes_stays_within_its_plan(self):
        config = tiny_config("sas", model={"d_model": 256, "max_seq_len": 256, "n_layer": 4},
                             train={"steps": 2, "micro_batch": 16, "grad_accum": 1}, checkpoint={"every_steps": 1},
                             optim={"schedule": {"warmup_steps": 0}}, eval={"max_sequences": 2})
        planned = self.plan(config)["arena_bytes"]
        self.assertGreater(planned, 100 * 2**20, "this test wants a larger model")
        peak, _ = self.watch(config)
        self.assertLessEqual(peak, planned + 100 * 2**20)


class BadSteps(AppTest):
    def expect_finite_checkpoint(self, run):
        tensors = harness.read_safetensors(checkpoints(run)[-1] / "model.safetensors")
        self.assertTrue(all(math.isfinite(x) for tensor in tensors.values() for x in tensor.floats()))

    def test_divergence_ends_the_run_with_exit_3_and_finite_weights(self):
        run = self.fresh()
        config = self.write_config(tiny_config(
            "sas", optim={"lr": 1000, "weight_decay": 1000, "grad_clip": 0, "schedule": {"warmup_steps": 0}},
            train={"steps": 50, "max_bad_steps": 4}, checkpoint={"every_steps": 0}))
        done = saslm("train", config, "--run-dir", run)
        self.assertEqual(done.code, DIVERGED, done.err)
        self.assertIn("max_bad_steps", done.err)
        steps = events(run, "step")
        self.assertLess(len(steps), 50)
        self.assertEqual(["not finite" in step.get("skipped", "") for step in steps],
                         [False] * (len(steps) - 4) + [True] * 4)
        self.assertEqual(saslm("inspect", checkpoints(run)[-1]).code, DONE)
        self.assertEqual(checkpoints(run)[-1].name, f"step_{len(steps):08}")
        self.expect_finite_checkpoint(run)
        state = json.loads((checkpoints(run)[-1] / "state.json").read_text())
        self.assertEqual(state["updates"], len(steps) - 4)

    def test_weights_with_a_nan_are_never_trained_on(self):
        start = self.fresh("weights")
        start.mkdir()
        run = self.train(tiny_config("mha"), "--set", "train.steps=5")
        shutil.copy(checkpoints(run)[-1] / "config.json", start)
        tensors = harness.read_safetensors(checkpoints(run)[-1] / "model.safetensors")
        name = "layers.1.mlp.down.weight"
        planted = tensors[name].data[:400] + struct.pack("<f", math.nan) + tensors[name].data[404:]
        tensors[name] = tensors[name]._replace(data=planted)
        (start / "model.safetensors").write_bytes(harness.safetensors_bytes(tensors))

        run = self.fresh()
        done = saslm("train", self.write_config(tiny_config("mha")), "--run-dir", run, "--init-from", start)
        self.assertEqual(done.code, DIVERGED, done.err)
        self.assertEqual(["loss is not finite"] * 5, [step.get("skipped") for step in events(run, "step")])
        self.assertTrue(all(step["loss"] is None for step in events(run, "step")))
        self.assertIn("samples 0 to 7 of the stream", done.err)
        self.assertEqual([(step["first_sample"], step["samples"]) for step in events(run, "step")],
                         [(8 * step, 8) for step in range(5)])
        self.assertIn(f"'{name}' holds nan at element 100", done.err)
        done = saslm("eval", "--checkpoint", start, "--data", self.folder / "val.bin")
        self.assertEqual(done.code, USER, done.err)
        self.assertIn(f"'{name}' holds nan at element 100", done.err)
        found = harness.read_safetensors(checkpoints(run)[-1] / "model.safetensors")
        self.assertTrue(all(found[n].data == tensors[n].data for n in tensors), "a bad step changed the weights")

    def test_a_spike_is_skipped_and_the_run_goes_on(self):
        # In file order, one step's sequences are noise among ones that repeat.
        draw = random.Random(5)
        easy, noise = [1, 2, 3, 4] * 8, [draw.randrange(harness.VOCAB) for _ in range(32)]
        spiked = 30
        harness.write_shard(self.folder / "spike.bin", (easy * spiked + noise + easy * 20)[:32 * 45] + [1])
        config = tiny_config("mha", data={"train": "spike.bin", "shuffle": False},
                             train={"steps": 40, "micro_batch": 1, "grad_accum": 1, "spike_threshold": 8,
                                    "spike_window": 10},
                             checkpoint={"every_steps": 1, "keep_last": 40})
        run = self.train(config)
        skipped = {step["step"]: step["skipped"] for step in events(run, "step") if "skipped" in step}
        self.assertEqual(list(skipped), [spiked])
        self.assertIn("spike", skipped[spiked])
        self.assertEqual([(step["step"], step["first_sample"], step["samples"]) for step in events(run, "step")
                          if "samples" in step], [(spiked, spiked, 1)])
        folder = {int(path.name[5:]): path for path in checkpoints(run)}
        for name in ("model.safetensors", "optimizer.safetensors"):
            before, after, later = ((folder[spiked + n] / name).read_bytes() for n in range(3))
            self.assertTrue(before == after, f"the skipped step changed {name}")
            self.assertFalse(after == later, "the step after it must train again")
        states = [json.loads((folder[spiked + n] / "state.json").read_text()) for n in range(2)]
        self.assertEqual(states[0]["recent_losses"], states[1]["recent_losses"])
        self.assertEqual([s["updates"] for s in states], [spiked, spiked])


class Start(AppTest):
    def golden_folders(self):
        folders = [path.parent for path in sorted(harness.GOLDEN.glob("*/expected.json"))]
        self.assertGreaterEqual(len(folders), 4)
        return folders

    def test_weights_alone_start_a_run_at_the_golden_loss(self):
        for golden in self.golden_folders():
            with self.subTest(golden.name):
                start = self.fresh("weights")
                start.mkdir()
                for name in ("model.safetensors", "config.json"):
                    shutil.copy(golden / name, start)
                run, expected = self.fresh(), json.loads((golden / "expected.json").read_text())
                self.run_ok("train", golden / "config.json", "--run-dir", run, "--init-from", start)
                steps, evals = events(run, "step"), events(run, "eval")
                # The reference is float64; a loss of about 4 in fp32 is known to some 1e-6.
                self.assertAlmostEqual(steps[0]["loss"], expected["steps"][0]["loss"], delta=1e-5)
                self.assertAlmostEqual(steps[0]["grad_norm"], expected["steps"][0]["grad_norm"], delta=1e-4)
                self.assertAlmostEqual(evals[0]["val_loss"], expected["evals"][0]["val_loss"], delta=1e-5)
                self.assertEqual([e["step"] for e in evals], [e["step"] for e in expected["evals"]])
                for mine, theirs in zip(steps, expected["steps"], strict=True):
                    self.assertAlmostEqual(mine["lr"], theirs["lr"], delta=1e-12)
                    self.assertAlmostEqual(mine["loss"], theirs["loss"], delta=2e-3)

    def test_a_checkpoint_starts_another_run_with_its_weights_and_nothing_else(self):
        first = self.train(tiny_config("sas"))
        run = self.train(tiny_config("sas"), "--init-from", checkpoints(first)[-1])
        self.assertIsNone(events(run, "start")[0]["resumed_from_step"])
        self.assertEqual(events(run, "eval")[0]["val_loss"], events(first, "eval")[-1]["val_loss"])
        self.assertEqual([step["step"] for step in events(run, "step")], list(range(20)))

    def losses(self, *args):
        config = tiny_config("sas", train={"steps": 10}, optim={"lr": 1e-3})
        return [step["loss"] for step in events(self.train(config, *args), "step")]

    def test_a_batch_may_be_cut_into_micro_steps(self):
        whole = self.losses("--set", "train.micro_batch=4", "--set", "train.grad_accum=1")
        for micro, accum in ((2, 2), (1, 4)):
            cut = self.losses("--set", f"train.micro_batch={micro}", "--set", f"train.grad_accum={accum}")
            for a, b in zip(whole, cut, strict=True):
                self.assertAlmostEqual(a, b, delta=1e-5)

    def test_the_seed_decides_the_run(self):
        self.assertEqual(self.losses(), self.losses())
        self.assertNotEqual(self.losses(), self.losses("--set", "train.seed=2"))

    def test_set_overrides_the_file(self):
        run = self.train(tiny_config("mha"), "--set", "train.steps=6", "--set", "optim.schedule.kind=constant",
                         "--set", "optim.schedule.warmup_steps=0", "--set", "optim.lr=0.002",
                         "--set", 'model.mlp={"kind":"gelu","hidden":48}', "--set", "data.val=",
                         "--set", "train.steps=5")
        steps = events(run, "step")
        self.assertEqual(len(steps), 5, "the last override of a key counts")
        self.assertEqual({step["lr"] for step in steps}, {0.002})
        self.assertEqual(events(run, "eval"), [])
        stored = json.loads((run / "config.json").read_text())
        self.assertEqual(stored["model"]["mlp"], {"kind": "gelu", "hidden": 48})

    def test_checkpoints_are_kept_as_asked(self):
        run = self.train(tiny_config("mha", checkpoint={"every_steps": 2, "keep_last": 2, "keep_every": 6}))
        self.assertEqual([int(path.name[5:]) for path in checkpoints(run)], [6, 12, 18, 20])

    def test_what_killed_writes_left_behind_goes(self):
        run = self.fresh()
        run.mkdir()
        for name in ("config.json.tmp_1", "metrics.jsonl.tmp_77", "notes.tmp_x", "notes.tmp_"):
            (run / name).touch()
        self.run_ok("train", self.write_config(tiny_config("mha")), "--run-dir", run)
        self.assertEqual(sorted(path.name for path in run.glob("*.tmp_*")), ["notes.tmp_", "notes.tmp_x"])


if __name__ == "__main__":
    harness.main()
