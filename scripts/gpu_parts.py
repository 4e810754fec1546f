"""The parts of scripts/gpu_check.py: what saslm must show on a GPU. Each method of Parts that PARTS names is one; its first
line says what it shows. It returns what goes into results.json, or raises Failed. What the clock leaves no time for goes
into left_out, by name. call, program and seconds_left are gpu_check.py's.
"""
import csv
import json
import os
import pathlib
import re
import shutil
import sys

HOUSE = pathlib.Path(__file__).resolve().parent.parent
# Minutes that each may take, in the order in which they are worth having: what says whether kernels are right, the three
# measurements that decide what is tuned first, then the rest.
PARTS = {"selfcheck": 4, "head": 2, "sas_bwd": 2, "attention_bwd": 3, "layout": 1, "kernels": 9, "backend": 9, "curve": 6,
         "ranks": 3, "train": 4, "bench": 7, "pytorch": 4, "baseline": 9, "repeat": 3, "memcheck": 4, "racecheck": 4}
# The programs that they run besides saslm.
PROGRAMS = {"layout": ["gpu_layout"], "kernels": ["gpu_kernels"], "repeat": ["gpu_kernels"], "backend": ["gpu_backend"],
            "memcheck": ["gpu_kernels", "gpu_backend"], "racecheck": ["gpu_kernels", "gpu_backend"], "ranks": ["gpu_ranks"]}
# A short run of the quickstart's shapes in four layers, two micro-batches a step.
CURVE = {"model__n_layer": 4, "train__steps": 40, "train__micro_batch": 8, "train__grad_accum": 2, "optim__lr": 2e-3,
         "optim__schedule__warmup_steps": 40}


class Failed(Exception):
    pass


def not_run(note):
    return {"status": "not run", "note": note}


def summary(name):
    return getattr(Parts, name).__doc__.split("\n")[0]


class Parts:
    def program(self, name):
        found = next((p for p in self.build.rglob(name) if p.is_file() and os.access(p, os.X_OK)), None)
        if found is None:
            raise Failed(f"{name} was not built in {self.build}")
        return found

    def tests(self, program, *arguments, wrapper=(), env=None, limit=600, sample=False):
        """Runs a GoogleTest program; every test that ran must pass. Cut off by the clock: what it did not reach is left out."""
        code, output = self.call([*wrapper, self.program(program), *arguments], limit=limit, env=env, fatal=False)
        passed = sum(line.startswith("[       OK ]") for line in output.splitlines())
        failed = list(dict.fromkeys(line.split("] ")[1].split(",")[0].split(" (")[0] for line in output.splitlines()
                                    if line.startswith("[  FAILED  ] ") and "." in line))  # in order: the first tells most
        if "SKIPPED: no GPU" in output:
            raise Failed("no GPU was found")
        if failed or code not in (0, None):
            raise Failed(f"{len(failed)} of {passed + len(failed)} tests failed: {', '.join(failed[:8])}; exit code {code}")
        if code is None and not sample:
            self.left_out.append(f"{program} {' '.join(arguments[:1])} after {passed} tests".replace("--gtest_filter=", ""))
        if passed == 0 and code == 0:
            raise Failed("no test ran")
        return {"tests_passed": passed, **({} if code == 0 else {"note": "as far as the time went"})}

    def suites(self, program, *arguments):
        """Runs a GoogleTest program suite by suite, each in a process of its own. One may take what is left of the part but
        for a tenth of it: how long a suite needs is the host's doing, which computes every twin."""
        _, listed = self.call([self.program(program), "--gtest_list_tests"], limit=60)
        names = [line.split()[0] for line in listed.splitlines() if line[:1].strip() and line.split()[0].endswith(".")]
        passed, problems = 0, []
        for name in names:
            if self.seconds_left() < 5:
                self.left_out.append(f"{program} {name}*")
                continue
            try:
                passed += self.tests(program, f"--gtest_filter={name}*", *arguments,
                                     limit=max(20, 0.9 * self.seconds_left()))["tests_passed"]
            except Failed as failed:
                problems.append(f"{name.rstrip('.')}: {failed}")
        if problems or not names:
            raise Failed(f"{len(problems)} of {len(names)} suites: " + "; ".join(problems))
        return {"tests_passed": passed, "suites": len(names)}

    def data(self):
        """Shards of real text, as bytes."""
        shards = self.work / "data"
        if not (shards / "val.json").exists():
            text = self.text
            if text is None:
                text = self.work / "text"
                self.call(["scripts/sample_text.sh", text])
            for part in ("train", "val"):
                self.call([self.saslm, "tokenize", "--input", text / f"{part}.txt", "--tokenizer", "bytes",
                           "--out", shards, "--prefix", part])
        return {"data.train": f"{shards}/train_*.bin", "data.val": f"{shards}/val_*.bin", "data.tokenizer": ""}

    def run_training(self, config, run, limit=300, arguments=(), **settings):
        """Trains afresh; returns the step and the eval events. optim__lr stands for optim.lr."""
        folder = self.work / "runs" / run
        shutil.rmtree(folder, ignore_errors=True)
        settings = {**self.data(), "checkpoint.every_steps": 0, **{key.replace("__", "."): v for key, v in settings.items()}}
        words = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        self.call([self.saslm, "train", f"configs/{config}.json", "--run-dir", folder, *arguments,
                   *[word for pair in words for word in ("--set", pair)]], limit=limit)
        events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return ([e for e in events if e["event"] == "step"], [e for e in events if e["event"] == "eval"])

    def bench_config(self, name, called=None, **model):
        """The shipped config with one micro-batch a step, for saslm and PyTorch alike."""
        path = self.work / "configs" / f"{called or name}.json"
        path.parent.mkdir(exist_ok=True)
        config = json.loads((HOUSE / "configs" / f"{name}.json").read_text())
        config["train"]["grad_accum"] = 1
        config["model"].update(model)
        path.write_text(json.dumps(config, indent=1))
        return path

    def json_of(self, command, limit):
        _, output = self.call(command, limit=limit)
        return json.loads(output.strip().splitlines()[-1])

    def operations(self, configs, only, limit=110):
        """saslm bench kernels, of some operations: the entries of "kernels"."""
        return self.json_of([self.saslm, "bench", "kernels", *configs, "--only", only, "--device", "cuda", "--json"],
                            limit)["kernels"]

    # --- are the kernels right?

    def selfcheck(self):
        """Every operation of 124m_mha and 124m_sas at its shapes against an independent path (saslm selfcheck)."""
        if self.call([self.saslm, "selfcheck", "--help"], limit=30, fatal=False)[0] != 0:
            return not_run("this saslm knows no command selfcheck")
        calls, wrong, dead = 0, [], []
        for kind in ("mha", "sas"):
            config = self.bench_config(f"124m_{kind}")
            code, output = self.call([self.saslm, "selfcheck", config, "--device", "cuda", "--json"], limit=120, fatal=False)
            if code is None:
                self.left_out.append(f"124m_{kind}: cut off by the clock")
                continue
            lines = [line for line in output.splitlines() if line.startswith("{")]
            if not lines:
                raise Failed(f"selfcheck of 124m_{kind} ended with {code}: " + " | ".join(output.strip().splitlines()[-3:]))
            for one in json.loads(lines[-1])["results"]:
                calls += 1
                bad = [kernel for kernel in one["kernels"] if not kernel["right"]]
                wrong += [f"{kernel['kernel'] or one['op']} {one['shape']}: {kernel['why']}" for kernel in bad]
                if len(bad) == len(one["kernels"]):
                    dead.append(f"{one['op']} {one['shape']}")
            if code != 0 and not dead:
                raise Failed(f"selfcheck of 124m_{kind} ended with {code}")
        if wrong or dead:
            raise Failed(f"wrong kernels: {'; '.join(wrong)}" + (f"; none is right for {', '.join(dead)}" if dead else ""))
        return {"calls": calls} if calls or self.left_out else not_run("it checked nothing")

    # --- what is tuned first

    def head(self):
        """The head's products for 50257 tokens, padded to 50304, beside those for 50304: the same, if the pad works."""
        found = {}
        for rows in (50257, 50304):
            config = self.bench_config("124m_mha", f"124m_mha_of_{rows}", vocab_size=rows)
            for one in self.operations([config], "matmul_fwd,matmul_bwd", 55):
                if re.search(r"\b(50257|50304)\b", one["shape"]):
                    found.setdefault(one["op"], {}).setdefault(rows, 0.0)
                    found[one["op"]][rows] += one["ms"] * sum(one["calls"].values())
        if not found or any(len(ms) != 2 for ms in found.values()):
            raise Failed("bench kernels names no product of 50257 or 50304 rows")
        table = [f"{'head':<14} {'50257, ms':>10} {'50304, ms':>10} {'times':>7}"]
        for op, ms in found.items():
            table.append(f"{op:<14} {ms[50257]:10.3f} {ms[50304]:10.3f} {ms[50257] / ms[50304]:7.3f}")
        return {**{f"{op}_times": ms[50257] / ms[50304] for op, ms in found.items()}, "ms": found, "table": table}

    def timed(self, op, config):
        """An operation at a config's shapes: the result of a part."""
        calls = self.operations([self.bench_config(config)], op)
        if not calls:
            raise Failed(f"bench kernels timed no {op} of {config}")
        table = [f"{'shape':<36} {'us':>9} {'range':>19} {'ns/token':>9} {'TFLOP/s':>8} {'GB/s':>7} {'% floor':>8}"]
        for c in calls:
            between = f"{c['ms_min'] * 1e3:.1f}-{c['ms_max'] * 1e3:.1f}"
            table.append(f"{c['shape']:<36} {c['ms'] * 1e3:9.1f} {between:>19} {c['ns_per_token']:9.2f} "
                         f"{c['tflop_per_s']:8.1f} {c['gb_per_s']:7.0f} {c['percent_of_floor']:8.1f}")
        return {"ns_per_token": sum(c["ns_per_token"] for c in calls), "calls": calls, "table": table}

    def sas_bwd(self):
        """The simulation's backward at the shapes of 124m_sas."""
        return self.timed("sas_bwd", "124m_sas")

    def attention_bwd(self):
        """Attention's backward of 124m_sas and 124m_mha, with its L2 hit rate where ncu may read it."""
        result, table = {}, []
        for kind in ("sas", "mha"):
            one = self.timed("attention_bwd", f"124m_{kind}")
            result[f"{kind}_ns_per_token"], result[kind] = one["ns_per_token"], one["calls"]
            table += [f"124m_{kind}", *one["table"]]
        rates, why = self.l2_hit_rates(self.bench_config("124m_sas"), "attention_bwd")
        table += [f"L2 hit rate of {kernel}: {rate:.1f} %" for kernel, rate in rates.items()] or [f"no L2 hit rate: {why}"]
        return {**result, **({"l2_hit_percent": rates} if rates else {"note": f"time alone: {why}"}), "table": table}

    def l2_hit_rates(self, config, op):
        """({kernel: per cent}, why there are none)"""
        ncu = shutil.which("ncu") or next(iter(sorted(pathlib.Path("/usr/local/cuda/bin").glob("ncu"))), None)
        if ncu is None:
            return {}, "ncu was not found"
        metric = "lts__t_sector_hit_rate.pct"
        code, output = self.call([ncu, "--csv", "--metrics", metric, "--kernel-name", f"regex:{op}", "--launch-count", "2",
                                  self.saslm, "bench", "kernels", config, "--only", op, "--device", "cuda", "--samples", "1",
                                  "--sample-ms", "1", "--peak-tflops", "1", "--peak-gb", "1"], limit=90, fatal=False)
        if "ERR_NVGPUCTRPERM" in output:
            return {}, "ncu may not read this GPU's counters (ERR_NVGPUCTRPERM): the driver permits root alone"
        lines = output.splitlines()
        start = next((n for n, line in enumerate(lines) if line.startswith('"ID"')), None)
        rows = [] if start is None else list(csv.DictReader(lines[start:]))
        rates = {row["Kernel Name"].split("(")[0]: float(row["Metric Value"].replace(",", "")) for row in rows
                 if row.get("Metric Name") == metric}
        return rates, "" if rates else f"ncu ended with {code} and gave no {metric}"

    # --- tests

    def layout(self):
        """The primitives' register and memory layouts (gpu_layout)."""
        code, output = self.call([self.program("gpu_layout")], limit=60, fatal=False)
        if "SKIPPED" in output:
            raise Failed("no GPU was found")
        lines = output.strip().splitlines() or ["it said nothing"]
        if code != 0:
            raise Failed(" | ".join(line for line in lines if not line.endswith("ok")))
        return {"note": lines[-1]}

    def kernels(self):
        """Every kernel against its CPU twin over ragged shapes, outputs poisoned, memory around them guarded (gpu_kernels)."""
        return self.suites("gpu_kernels")

    def backend(self):
        """Golden models trained end to end in fp32 and bf16 (gpu_backend)."""
        return self.suites("gpu_backend", "--gtest_also_run_disabled_tests")

    def curve(self):
        """A short run whose losses follow the CPU's, step by step, in fp32 and bf16; twice with the same bits.

        The yardstick is another seed: so far apart are two runs on the CPU that do the same. Rounding may move the losses
        by all of that in bf16, whose rounding is 65,536 times fp32's, and by a sixteenth in fp32. (Another order of sums
        alone, 16 x 1 instead of 8 x 2 sequences, moves them by 7e-8 nats on the CPU; another seed by 0.14.)
        """
        result = {}
        for kind in ("mha", "sas"):
            def losses(run, **settings):
                steps, _ = self.run_training(f"quickstart_{kind}", f"curve_{kind}_{run}", eval__every_steps=0,
                                             **CURVE, **settings)
                return [step["loss"] for step in steps]

            def apart(a, b):
                return max(abs(x - y) for x, y in zip(a, b))

            cpu = losses("cpu", runtime__device="cpu")
            seeds = apart(cpu, losses("seed", runtime__device="cpu", train__seed=2))
            result[f"{kind}_other_seed"] = seeds
            for precision, allowed in (("fp32", seeds / 16), ("bf16", seeds)):
                gpu = losses(precision, runtime__device="cuda", runtime__precision=precision)
                again = losses(precision + "_again", runtime__device="cuda", runtime__precision=precision)
                result[f"{kind}_{precision}_max_difference"] = apart(cpu, gpu)
                if len(gpu) != 40 or not apart(cpu, gpu) <= allowed:
                    raise Failed(f"{kind} in {precision} leaves the CPU's losses by {apart(cpu, gpu):.4f} nats; wanted at most "
                                 f"{allowed:.4f}, since another seed makes {seeds:.4f}")
                if gpu != again:
                    raise Failed(f"{kind} in {precision}: the same run twice is not the same run")
            if not cpu[-1] < cpu[0] - 1:
                raise Failed(f"{kind}: the loss did not fall: {cpu[0]:.3f} to {cpu[-1]:.3f}")
        return result

    def ranks(self):
        """One rank joined by NCCL: its room (gpu_ranks); training with --gpus 1 is training without, bit for bit."""
        if not any(self.build.rglob("gpu_ranks")):
            return not_run("built without NCCL: nccl.h was not found")
        _, output = self.call([self.program("gpu_ranks"), "--gtest_filter=*GivesItself"], limit=60, fatal=False)
        if "NCCL, which was not found" in output:
            return not_run("NCCL's library was not found; LD_LIBRARY_PATH may name its folder")
        result = self.tests("gpu_ranks", limit=120)

        def trained(run, *arguments):
            steps, _ = self.run_training("quickstart_sas", f"ranks_{run}", arguments=arguments,
                                         eval__every_steps=0, runtime__device="cuda", **CURVE)
            result[f"{run}_step_ms"] = sorted(step["step_ms"] for step in steps)[len(steps) // 2]
            saved = sorted((self.work / "runs" / f"ranks_{run}" / "checkpoints").glob("*/*.safetensors"))
            return [(step["loss"], step["grad_norm"]) for step in steps], {file.name: file.read_bytes() for file in saved}

        plain, joined = trained("plain"), trained("joined", "--gpus", "1")
        if plain != joined or len(plain[0]) != 40 or len(plain[1]) != 2:
            raise Failed("training with --gpus 1 leaves the bits of training without")
        return result

    # --- speed

    def train(self):
        """mha and sas of 124M parameters on real text: losses fall; tokens/s."""
        result = {}
        for kind in ("mha", "sas"):
            steps, evals = self.run_training(f"124m_{kind}", f"train_{kind}", train__steps=30, train__grad_accum=2,
                                             optim__schedule__warmup_steps=10, eval__every_steps=0,
                                             eval__max_sequences=64)
            losses, speeds = [s["loss"] for s in steps], sorted(s["tokens_per_s"] for s in steps[5:])
            result[kind] = {"loss_first": losses[0], "loss_last": losses[-1], "val_loss": evals[-1]["val_loss"],
                            "tokens_per_s": speeds[len(speeds) // 2]}
            if not losses[-1] < losses[0] - 2:
                raise Failed(f"{kind}: the loss did not fall: {losses[0]:.3f} to {losses[-1]:.3f}")
        return result

    def bench(self):
        """saslm bench step, of 124M and 353M, and saslm bench kernels."""
        names = [f"{size}_{kind}" for size in ("124m", "353m") for kind in ("mha", "sas")]
        configs = [*map(self.bench_config, names)]
        steps = self.json_of([self.saslm, "bench", "step", *configs, "--json"], 150)
        (self.work / "bench_step.json").write_text(json.dumps(steps))
        kernels = self.json_of([self.saslm, "bench", "kernels", *configs[:2], "--device", "cuda", "--json"], 240)
        return {**{f"{name}_tokens_per_s": run["tokens_per_s"] for name, run in zip(names, steps["runs"])},
                "steps": steps, "kernels": kernels}

    def pytorch(self):
        """scripts/bench/torch_step.py at the same shapes; a table of both."""
        probe = [sys.executable, "-c", "import torch; assert torch.cuda.is_available()"]
        if self.call(probe, limit=60, fatal=False)[0] != 0:
            return not_run("this Python has no PyTorch with CUDA")
        configs = [self.bench_config(f"124m_{kind}") for kind in ("mha", "sas")]
        found = self.json_of([sys.executable, "scripts/bench/torch_step.py", *configs, "--device", "cuda", "--steps", 8,
                              "--json"], 200)
        (self.work / "pytorch.json").write_text(json.dumps(found))
        if (self.work / "bench_step.json").exists():
            ours = json.loads((self.work / "bench_step.json").read_text())
            ours["runs"] = [run for run in ours["runs"] if run["config"] in map(str, configs)]
            (self.work / "ours.json").write_text(json.dumps(ours))
            _, table = self.call([sys.executable, "scripts/bench/speed_table.py", self.work / "ours.json",
                                  self.work / "pytorch.json"], fatal=False)
            return {"results": found, "table": table.splitlines()}
        return {"results": found}

    def baseline(self):
        """Another PyTorch program (--baseline FILE), and saslm at the batch it used, on the same card."""
        if not self.baseline_program:
            return not_run("no --baseline FILE was given")
        file = self.work / "baseline.json"
        file.unlink(missing_ok=True)
        code, output = self.call([sys.executable, self.baseline_program, "--device", "cuda", "--json", file],
                                 limit=0.7 * self.seconds_left(), fatal=False)
        rows = [json.loads(line) for line in output.splitlines() if line.startswith("{") and line.endswith("}")]
        rows = [row for row in rows if row.keys() >= {"arch", "size", "B", "T"}]
        if not rows:
            raise Failed(f"the baseline ended with {code} and gave no line: " + " | ".join(output.strip().splitlines()[-3:]))
        if code != 0:
            self.left_out.append(f"the baseline after {len(rows)} of its runs")
        table = [f"{'who':<30} {'batch':>9} {'ms/step':>9} {'tokens/s':>10}"]
        for row in rows:
            who, batch = f"baseline {row['arch']} {row.get('mode', '')}", f"{row['B']}x{row['T']}"
            table.append(f"{who:<30} {batch:>9} " + (f"{row['step_ms']:9.1f} {row['tokens_per_s']:10.0f}" if "step_ms" in row
                                                     else row.get("error", "no figure")[:60]))
        ours = []
        for size, kind, B, T in sorted({(r["size"], "mha" if r["arch"] == "mha" else "sas", r["B"], r["T"]) for r in rows}):
            if not (HOUSE / f"configs/{size}_{kind}.json").exists():
                self.left_out.append(f"saslm beside {size} {kind}: no config of that name")
                continue
            config = self.bench_config(f"{size}_{kind}")
            run = self.json_of([self.saslm, "bench", "step", config, "--json", "--set", f"train.micro_batch={B}", "--set",
                                f"train.seq_len={T}"], 120)
            ours.append({"config": f"{size}_{kind}", **run})
            table.append(f"{f'saslm {kind}':<30} {f'{B}x{T}':>9} {run['step_ms']:9.1f} {run['tokens_per_s']:10.0f}")
        return {"baseline": rows, "ours": ours, "table": table}

    # --- longer

    def repeat(self):
        """Every kernel's bits over 100 runs, as far as the time goes."""
        return self.tests("gpu_kernels", env={"SASLM_GPU_REPEATS": "100"}, limit=120, sample=True)

    def sanitizer(self, tool):
        path = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        if not os.path.exists(path):
            return not_run("compute-sanitizer was not found")
        wrapper = (path, "--tool", tool, "--error-exitcode", "9")
        once = {"SASLM_GPU_REPEATS": "1", "SASLM_GPU_GUARDS": "0"}  # guards hide the first bytes beyond a block
        model = self.tests("gpu_backend", "--gtest_filter=*Bf16*gqa_sas", wrapper=wrapper, env=once, limit=60, sample=True)
        kernels = self.tests("gpu_kernels", "--gtest_filter=-*DISABLED_*", wrapper=wrapper, env=once, limit=120, sample=True)
        return {**kernels, "model_tests_passed": model["tests_passed"]}

    def memcheck(self):
        """compute-sanitizer over a model's steps and the kernels: addresses."""
        return self.sanitizer("memcheck")

    def racecheck(self):
        """The same: shared memory."""
        return self.sanitizer("racecheck")
