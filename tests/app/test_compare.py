#!/usr/bin/env python3
"""A comparison that is killed, anywhere and any number of times, ends with the results of an uninterrupted one."""
import csv
import io
import json
import random
import shutil
import signal
import subprocess

import harness
from harness import ATTENTION, DIVERGED, DONE, STOPPED, USER, AppTest, Process, checkpoints, events, saslm, steps_done
from ranks import as_torchrun

STEPS = 40
RUNS = ("mha_seed1", "sas_seed1", "mha_seed2", "sas_seed2")  # in the order in which they run
TIMINGS = ("tokens_per_s", "seconds", "val_loss_at_equal_seconds", "timing_note")


def comparison(**patch):
    base = harness.tiny_config("mha", train={"steps": STEPS}, checkpoint={"every_steps": 5, "keep_last": 1})
    del base["eval"]["every_steps"]
    return harness.merged({
        "base": base,
        "variants": [{"name": "mha"}, {"name": "sas", "set": {"model.attention": ATTENTION["sas"]}}],
        "seeds": [1, 2], "budget": "tokens", "eval_points": 8}, patch)


def without_clock(value):
    if isinstance(value, dict):
        return {key: without_clock(entry) for key, entry in value.items() if key != "timing"}
    return [without_clock(entry) for entry in value] if isinstance(value, list) else value


def results(folder):
    """All results of a comparison except times."""
    table = list(csv.DictReader(io.StringIO((folder / "results.csv").read_text())))
    for row in table:
        for key in TIMINGS:
            del row[key]
    return {"json": without_clock(json.loads((folder / "results.json").read_text())), "csv": table,
            "sentences": [line for line in (folder / "results.md").read_text().splitlines() if line.startswith("* ")],
            "plan": (folder / "comparison.json").read_bytes()}


def weights(folder):
    return {run: (checkpoints(folder / "runs" / run)[-1] / "model.safetensors").read_bytes() for run in RUNS}


def total_steps(folder):
    return sum(steps_done(run) for run in (folder / "runs").glob("*"))


class CompareTest(AppTest):
    reference = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if CompareTest.reference:
            return
        CompareTest.config = cls.write_config(comparison(), "comparison.json")
        CompareTest.reference = cls.fresh("reference")
        done = cls.compare(cls.config, cls.reference)
        assert done.code == DONE, done.err

    @classmethod
    def compare(cls, config, folder, *args, env=None):
        """Without plots, which most tests do not need."""
        return saslm("compare", config, "--run-dir", folder, "--no-plots", *args, env=env)

    def background(self, config, folder):
        return Process("compare", config, "--run-dir", folder, "--no-plots")

    def expect_same_as_reference(self, folder):
        self.assertEqual(results(folder), results(self.reference))
        self.assertTrue(weights(folder) == weights(self.reference), "weights differ")


class Reference(CompareTest):
    def test_every_run_is_an_ordinary_one_with_all_its_steps(self):
        self.assertEqual(sorted(path.name for path in (self.reference / "runs").iterdir()), sorted(RUNS))
        for run in RUNS:
            self.assertEqual([e["step"] for e in events(self.reference / "runs" / run, "step")], list(range(STEPS)))
            self.assertEqual([e["step"] for e in events(self.reference / "runs" / run, "eval")], list(range(0, 41, 5)))
        final = [events(self.reference / "runs" / run, "eval")[-1]["val_loss"] for run in RUNS]
        self.assertEqual(len(set(final)), len(RUNS), "seeds or variants make no difference")
        self.run_ok("eval", "--checkpoint", self.reference / "runs" / RUNS[0], "--data", self.folder / "val.bin")

    def test_variants_of_one_seed_run_before_the_next_seed(self):
        started = sorted(RUNS, key=lambda run: (self.reference / "runs" / run / ".lock").stat().st_mtime_ns)
        self.assertEqual(tuple(started), RUNS)

    def test_the_figures_are_those_of_the_runs(self):
        report = json.loads((self.reference / "results.json").read_text())
        self.assertTrue(report["complete"])
        last = {run: events(self.reference / "runs" / run, "eval")[-1]["val_loss"] for run in RUNS}
        differences = [last[f"sas_seed{seed}"] - last[f"mha_seed{seed}"] for seed in (1, 2)]
        found = report["variants"][1]["at_equal_tokens"]["difference"]
        self.assertAlmostEqual(found["mean"], sum(differences) / 2, places=12)
        # Two pairs: deviation |d1 - d2| / sqrt(2), over sqrt(2), times t = 12.7062.
        self.assertAlmostEqual(found["half_width_95"], 12.7062 * abs(differences[0] - differences[1]) / 2, places=5)
        plan = self.run_json("plan", self.write_config(harness.tiny_config("sas")))
        self.assertEqual(report["variants"][1]["parameters"], plan["parameters"])
        self.assertEqual(report["variants"][1]["parameters_attention"],
                         plan["parameters_by_part"]["attention"] + plan["parameters_by_part"]["sas"])

    def test_started_again_it_trains_nothing(self):
        before = {run: (self.reference / "runs" / run / "metrics.jsonl").stat().st_mtime_ns for run in RUNS}
        self.assertEqual(self.compare(self.config, self.reference).code, DONE)
        self.assertEqual(before, {run: (self.reference / "runs" / run / "metrics.jsonl").stat().st_mtime_ns
                                  for run in RUNS})


class Interrupted(CompareTest):
    def test_killed_five_times_it_ends_with_the_same_results(self):
        draw = random.Random(5)
        folder, kills = self.fresh("killed"), 0
        for share in (0.08, 0.3, 0.45, 0.7, 0.9):
            target = int(share * STEPS * len(RUNS)) + draw.randrange(5)
            with self.background(self.config, folder) as process:
                self.assertTrue(process.wait_until(lambda: total_steps(folder) >= target), process)
                process.send(signal.SIGKILL)
                self.assertEqual(process.wait().code, -signal.SIGKILL)
            kills += 1
        self.assertEqual(kills, 5)
        done = self.compare(self.config, folder)
        self.assertEqual(done.code, DONE, done.err)
        self.expect_same_as_reference(folder)

    def test_stopped_by_a_signal_it_saves_and_goes_on(self):
        folder = self.fresh("stopped")
        with self.background(self.config, folder) as process:
            self.assertTrue(process.wait_until(lambda: total_steps(folder) >= STEPS + 7))
            process.send(signal.SIGTERM)
            done = process.wait()
        self.assertEqual(done.code, STOPPED, done.err)
        self.assertFalse(json.loads((folder / "results.json").read_text())["complete"])
        self.assertEqual(self.compare(self.config, folder).code, DONE)
        self.expect_same_as_reference(folder)

    def test_two_at_a_time_are_refused(self):
        folder = self.fresh()
        with self.background(self.config, folder) as process:
            process.wait_until(lambda: total_steps(folder) >= 1)
            second = self.compare(self.config, folder)
            self.assertEqual(second.code, USER)
            self.assertIn("in use", second.err)
            self.assertEqual(process.wait().code, DONE)

    def test_steps_of_a_time_budget_are_measured_once(self):
        any_length = {"optim": {"schedule": {"warmup_steps": 0}}}  # on a busy machine it is a few steps
        config = self.write_config(comparison(budget="seconds", budget_value=0.3, seeds=[1], base=any_length))
        folder = self.fresh("seconds")
        with self.background(config, folder) as process:
            self.assertTrue(process.wait_until(lambda: total_steps(folder) >= 1))
            process.send(signal.SIGKILL)
            process.wait()
        plan = (folder / "comparison.json").read_bytes()
        report = json.loads(self.compare(config, folder, "--json").out)
        self.assertEqual(plan, (folder / "comparison.json").read_bytes())
        for variant, run in zip(report["variants"], report["runs"]):
            speed = json.loads(plan)["variants"][variant["name"]]["tokens_per_s"]
            self.assertEqual(variant["steps"], round(0.3 * speed / variant["tokens_per_step"]))
            self.assertEqual(run["steps_done"], variant["steps"])


class Results(CompareTest):
    def test_a_variant_that_diverges_is_recorded_and_the_rest_goes_on(self):
        wild = {"optim.lr": 5.0, "train.max_bad_steps": 1, "train.spike_threshold": 1.0, "train.spike_window": 2}
        config = self.write_config(comparison(variants=[{"name": "mha"}, {"name": "wild", "set": wild}]))
        folder = self.fresh("diverged")
        reports = []
        for _ in range(2):  # the second time it is read off the metrics, and nothing is trained
            report = without_clock(json.loads(self.compare(config, folder, "--json").out))
            self.assertEqual([run["status"] for run in report["runs"]], ["finished", "diverged"] * 2)
            self.assertEqual(report["variants"][1]["diverged"], 2)
            self.assertIn("diverged with seed 1, 2", report["variants"][1]["sentence"])
            self.assertTrue(report["complete"])
            self.assertLess(report["runs"][1]["steps_done"], STEPS)
            reports.append(report)
        self.assertEqual(*reports)

    def test_when_all_diverge_that_is_the_end(self):
        wild = {"optim.lr": 5.0, "train.max_bad_steps": 1, "train.spike_threshold": 1.0, "train.spike_window": 2}
        variants = [{"name": name, "set": wild} for name in ("a", "b")]
        done = self.compare(self.write_config(comparison(variants=variants, seeds=[1])), self.fresh())
        self.assertEqual(done.code, DIVERGED, done.err)

    def test_equal_flops_are_equal_flops(self):
        config = self.write_config(comparison(budget="flops", seeds=[1]))
        mha, sas = json.loads(self.compare(config, self.fresh(), "--json").out)["variants"]
        self.assertEqual(mha["steps"], STEPS)
        self.assertLess(abs(sas["flops"] - mha["flops"]), 0.5 * sas["flops_per_token"] * sas["tokens_per_step"] + 1)

    def test_a_seed_and_a_variant_may_be_added(self):
        folder = self.fresh("grown")
        mha, sas = comparison()["variants"]
        small = comparison(seeds=[1], variants=[mha, {"name": "low", "set": {"optim.lr": 1e-4}}])
        self.assertEqual(self.compare(self.write_config(small), folder).code, DONE)
        before = (folder / "runs/mha_seed1/metrics.jsonl").stat().st_mtime_ns
        grown = comparison(seeds=[2, 1], variants=[*small["variants"], sas])
        done = self.compare(self.write_config(grown), folder)
        self.assertEqual(done.code, DONE, done.err)
        self.assertEqual(before, (folder / "runs/mha_seed1/metrics.jsonl").stat().st_mtime_ns)
        self.assertEqual(len(list((folder / "runs").iterdir())), 6)

    def test_any_other_change_is_refused_and_named(self):
        changed = comparison()
        changed["variants"][1]["set"]["optim.lr"] = 0.01
        done = self.compare(self.write_config(changed), self.reference)
        self.assertEqual(done.code, USER)
        self.assertIn("variants.sas.config.optim.lr: 0.003 before, 0.01 now", done.err)

    def test_a_run_and_a_comparison_do_not_share_a_folder(self):
        run = self.reference / "runs" / RUNS[0]
        before = {path: path.read_bytes() for path in self.reference.rglob("*") if path.is_file()}
        done = self.compare(self.config, run)
        self.assertEqual(done.code, USER)
        self.assertIn(f"{run} is the directory of a single run", done.err)
        done = saslm("train", run / "config.json", "--run-dir", self.reference)
        self.assertEqual(done.code, USER)
        self.assertIn(f"{self.reference} is a comparison's folder", done.err)
        done = saslm("train", run / "config.json", "--run-dir", run)
        self.assertEqual(done.code, USER)
        self.assertIn(f"{run} belongs to a comparison", done.err)
        self.assertEqual(before, {path: path.read_bytes() for path in self.reference.rglob("*") if path.is_file()})

    def test_a_run_that_was_trained_further_is_named(self):
        folder = self.fresh()
        shutil.copytree(self.reference, folder)
        run, alone = folder / "runs" / RUNS[0], self.fresh("alone")
        shutil.move(run, alone)
        self.run_ok("train", alone / "config.json", "--run-dir", alone, "--set", f"train.steps={STEPS + 5}")
        shutil.move(alone, run)
        done = self.compare(self.config, folder)
        self.assertEqual(done.code, USER)
        self.assertIn(f"{run} holds {STEPS + 5} steps, but this comparison wants {STEPS}", done.err)
        shutil.rmtree(run)
        self.assertEqual(self.compare(self.config, folder).code, DONE)
        self.expect_same_as_reference(folder)

    def test_a_record_that_is_damaged_is_refused_by_name(self):
        folder = self.fresh("damaged")
        folder.mkdir()
        for record in ('{"version": 1, "seeds": [1], "variants": [7]}',
                       '{"version": 1, "seeds": [1], "variants": {"mha": {"config": {"runtime": 7}}}}'):
            (folder / "comparison.json").write_text(record)
            done = self.compare(self.config, folder)
            self.assertEqual(done.code, USER, done.err)
            self.assertIn("was not written by saslm compare", done.err)

    def test_a_report_trains_nothing(self):
        folder = self.fresh("peek")
        self.assertEqual(self.compare(self.config, folder, "--report-only").code, USER)
        self.assertFalse(folder.exists())
        with self.background(self.config, folder) as process:
            self.assertTrue(process.wait_until(lambda: total_steps(folder) >= STEPS + 3))
            report = json.loads(self.compare(self.config, folder, "--report-only", "--json").out)
            process.send(signal.SIGKILL)
        self.assertFalse(report["complete"])
        self.assertEqual(report["runs"][0]["status"], "finished")
        done = self.compare(self.config, self.reference, "--report-only")
        self.assertEqual(done.code, DONE, done.err)
        self.assertIn("mha is the baseline.", done.out)

    def test_what_cannot_run_is_refused_before_the_first_run(self):
        broken = comparison()
        broken["variants"].append({"name": "gqa", "set": {"model.attention": {**ATTENTION["gqa"], "n_kv_head": 3}}})
        huge = comparison()
        huge["variants"].append({"name": "huge", "set": {"train.micro_batch": 1 << 19}})
        for config, phrase in ((broken, "variant gqa: model.attention.n_kv_head"),
                               (huge, "variant huge: this run does not fit"),
                               (comparison(base={"data": {"val": "absent.bin"}}), "absent.bin"),
                               (comparison(base={"data": {"val": None}}), "data.val")):
            folder = self.fresh()
            done = self.compare(self.write_config(config), folder)
            self.assertEqual(done.code, USER, done.err)
            self.assertIn(phrase, done.err)
            self.assertFalse(folder.exists())


    def test_a_report_can_be_made_within_a_launcher(self):
        self.assertEqual(saslm("compare", self.config, "--run-dir", self.reference, "--report-only", "--no-plots",
                               env=as_torchrun(1, 2, 4000)).code, DONE)


class DryRun(CompareTest):
    def test_it_says_what_plan_says_and_writes_nothing(self):
        folder = self.fresh()
        before = sorted(self.folder.rglob("*"))
        planned = self.run_ok("plan", self.config)
        done = self.compare(self.config, folder, "--dry-run")
        self.assertEqual((done.code, done.out), (DONE, planned.out), done.err)
        for word in ("mha", "sas", "total", "2 variants under one budget", "seeds 1, 2: 4 runs", "relative to the first"):
            self.assertIn(word, planned.out)
        found = self.run_json("plan", self.config)
        self.assertEqual([plan["variant"] for plan in found["plans"]], ["mha", "sas"])
        self.assertEqual(found["plans"][0]["steps"], STEPS)
        self.assertEqual(found, json.loads(self.compare(self.config, folder, "--dry-run", "--json").out))
        self.assertEqual(before, sorted(self.folder.rglob("*")))

    def test_what_compare_refuses_plan_refuses(self):
        narrow = comparison(base={"model": {"vocab_size": 8}})
        unlike = comparison(variants=[{"name": "a"}, {"name": "b", "set": {"train.seq_len": 16}}])
        for config, phrase in ((comparison(base={"data": {"val": "absent.bin"}}), "absent.bin"),
                               (narrow, "vocabulary"), (unlike, "train.seq_len"),
                               (comparison(budget_value=1), "budget_value")):
            path, folder = self.write_config(config), self.fresh()
            for command in (("plan", path), ("compare", path, "--run-dir", folder, "--dry-run")):
                done = saslm(*command)
                self.assertEqual((done.code, done.out), (USER, ""), done.err)
                self.assertIn(phrase, done.err)
            self.assertFalse(folder.exists())

    def test_another_comparison_in_the_folder_is_named(self):
        changed = self.write_config(comparison(eval_points=4))
        done = self.compare(changed, self.reference, "--dry-run")
        self.assertEqual(done.code, USER)
        self.assertIn("eval_points: 8 before, 4 now", done.err)

    def test_steps_of_a_time_budget_are_not_known_before(self):
        config = self.write_config(comparison(budget="seconds", budget_value=3))
        self.assertIn("depend on speeds, which are measured at the start", self.run_ok("plan", config).out)
        self.assertIsNone(self.run_json("plan", config)["plans"][0]["steps"])


class Plots(CompareTest):
    def has_matplotlib(self):
        return any(subprocess.run([python, "-I", "-c", "import matplotlib"], capture_output=True).returncode == 0
                   for python in ("python3", "/usr/bin/python3"))

    def draw(self, env=None, cwd=None):
        return saslm("compare", self.config, "--run-dir", self.reference, "--report-only", env=env, cwd=cwd)

    def test_without_matplotlib_one_line_says_so(self):
        done = self.draw({"MPLBACKEND": "no such backend"})  # which matplotlib refuses to be imported with
        self.assertEqual(done.code, DONE)
        self.assertEqual(sum("no plots" in line for line in done.err.splitlines()), 1, done.err)

    def test_no_python_of_the_current_folder_is_run(self):
        here, ran = self.fresh("here"), self.fresh("ran")
        here.mkdir()
        for name in ("matplotlib", "html", "json", "site", "os", "sitecustomize", "usercustomize"):
            (here / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r})\n")
        (here / "matplotlibrc").write_text("axes.titlesize: nonsense\n")
        report = self.reference / "report.html"
        report.unlink(missing_ok=True)
        for path in (None, "", str(here), ":" + str(here), "."):  # with a probe that fails: drawing takes seconds
            env = {"MPLBACKEND": "no such backend", **({} if path is None else {"PYTHONPATH": path})}
            self.assertEqual(self.draw(cwd=here, env=env).code, DONE)
            self.assertFalse(ran.exists(), "the folder's own modules were run")
        done = self.draw(cwd=here, env={"PYTHONPATH": ":" + str(here)})
        self.assertEqual(done.code, DONE, done.err)
        self.assertFalse(ran.exists(), "the folder's own modules were run")
        if self.has_matplotlib():
            self.assertIn("report: ", done.err)
            self.assertTrue(report.exists())

    def test_a_link_in_the_folder_leads_nothing_out_of_it(self):
        if not self.has_matplotlib():
            self.skipTest("python3-matplotlib is not installed")
        outside = self.fresh("outside")
        outside.write_text("precious")
        (self.reference / "report.html.tmp").symlink_to(outside)
        self.assertEqual(self.draw().code, DONE)
        self.assertEqual(outside.read_text(), "precious")
        self.assertIn("<html", (self.reference / "report.html").read_text())

    def test_the_report_is_one_file_that_needs_no_network(self):
        if not self.has_matplotlib():
            self.skipTest("python3-matplotlib is not installed")
        done = self.draw()
        self.assertEqual(done.code, DONE)
        self.assertIn("report.html", done.err)
        report = (self.reference / "report.html").read_text()
        drawn = sorted(path.name for path in (self.reference / "plots").glob("*.svg"))
        self.assertEqual(drawn, ["difference.svg", "final_ppl.svg", "summary.svg", "train_loss.svg", "val_loss.svg"])
        self.assertEqual(report.count("<img"), len(drawn))
        self.assertEqual(report.count("src='data:image/svg+xml;base64,"), len(drawn))
        self.assertIn("<meta name=\"viewport\"", report)
        for outside in ("http:", "https:", "<script", "<link", "url("):
            self.assertNotIn(outside, report)
        for variant in json.loads((self.reference / "results.json").read_text())["variants"]:
            self.assertIn(variant["sentence"], report)

    def test_the_picture_of_differences_has_the_tables_intervals(self):
        if not self.has_matplotlib():
            self.skipTest("python3-matplotlib is not installed")
        self.assertEqual(self.draw().code, DONE)
        picture = (self.reference / "plots" / "difference.svg").read_text()
        _, sas = json.loads((self.reference / "results.json").read_text())["variants"]
        self.assertIsNotNone(sas["at_equal_tokens"]["difference"]["half_width_95"])
        self.assertIn('id="interval-tokens-sas"', picture)
        self.assertNotIn("interval-tokens-mha", picture)  # of itself a baseline has none


if __name__ == "__main__":
    harness.main()
