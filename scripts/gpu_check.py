#!/usr/bin/env python3
"""What saslm must show on a GPU, part by part: called by gpu_check.sh, which builds for that GPU first.

layout     the primitives' register and memory layouts (gpu_layout)
kernels    every kernel against its CPU twin over ragged shapes, outputs poisoned, memory around them guarded (gpu_kernels)
backend    golden models trained end to end in fp32 and bf16 (gpu_backend)
curve      a short run whose losses follow the CPU's, step by step, in fp32 and bf16; twice with the same bits
ranks      one rank joined by NCCL: its room (gpu_ranks); training with --gpus 1 is training without, bit for bit
train      mha and sas of 124M parameters on real text: losses fall; tokens/s
bench      saslm bench step and saslm bench kernels
pytorch    scripts/bench/torch_step.py at the same shapes, where this Python has PyTorch with CUDA; a table of both
yardstick  another PyTorch program timed in the same session (--yardstick FILE)
repeat     every kernel's bits over 100 runs
memcheck   compute-sanitizer over a model's steps and the kernels: addresses
racecheck  the same: shared memory

Parts run in this order until --minutes are over; what has not begun by then is "not run". A suite of tests is a process
of its own: one that hangs or loses the GPU costs its own time and results alone. --out gets three files, each as far as
things have come: results.json, log.txt with all that was said, build.log. Runs and data stay in the build's folder.
Exit 1 if any part failed.
"""
import argparse
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

HOUSE = pathlib.Path(__file__).resolve().parent.parent
# A short run of the quickstart's shapes in four layers, two micro-batches a step: its tolerances were found with it.
CURVE = {"model__n_layer": 4, "train__steps": 40, "train__micro_batch": 8, "train__grad_accum": 2, "optim__lr": 2e-3,
         "optim__schedule__warmup_steps": 40}


class Failed(Exception):
    pass


class Checks:
    def __init__(self, options):
        self.build, self.out = pathlib.Path(options.build).resolve(), pathlib.Path(options.out).resolve()
        self.work = self.build / "check"
        self.text = options.text and pathlib.Path(options.text).resolve()
        self.yardstick_program = options.yardstick
        self.deadline = time.monotonic() + 60 * options.minutes - options.build_seconds
        self.saslm = self.build / "saslm"
        for folder in (self.out, self.work):
            folder.mkdir(parents=True, exist_ok=True)
        self.log = self.out / "log.txt"
        self.log.unlink(missing_ok=True)
        if (self.build / "build.log").exists() and self.out != self.build:
            shutil.copy(self.build / "build.log", self.out)

    # --- running things

    def seconds_left(self):
        return self.deadline - time.monotonic()

    def call(self, command, limit=600, env=None, fatal=True):
        """Runs `command` with its output appended to the log; returns (exit code or None when cut off, output)."""
        with open(self.log, "a") as stream:
            print("$", *command, file=stream, flush=True)
            start = self.log.stat().st_size
            process = subprocess.Popen([str(word) for word in command], stdout=stream, stderr=subprocess.STDOUT, cwd=HOUSE,
                                       env=dict(os.environ, **(env or {})), start_new_session=True)
            try:
                code = process.wait(timeout=max(1, min(limit, self.seconds_left())))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                code = None
        output = self.log.read_bytes()[start:].decode(errors="replace")
        if fatal and code != 0:
            how = "was cut off" if code is None else f"ended with {code}"
            raise Failed(f"{pathlib.Path(str(command[0])).name} {how}: " + " | ".join(output.strip().splitlines()[-3:]))
        return code, output

    def program(self, name):
        found = next((p for p in self.build.rglob(name) if p.is_file() and os.access(p, os.X_OK)), None)
        if found is None:
            raise Failed(f"{name} was not built in {self.build}")
        return found

    def tests(self, program, *arguments, wrapper=(), env=None, limit=600, sample=False):
        """Runs a GoogleTest program; every test must pass, or, of a sample, those that the time allows."""
        code, output = self.call([*wrapper, self.program(program), *arguments], limit=limit, env=env, fatal=False)
        passed = sum(line.startswith("[       OK ]") for line in output.splitlines())
        failed = list(dict.fromkeys(line.split("] ")[1].split(",")[0].split(" (")[0] for line in output.splitlines()
                                    if line.startswith("[  FAILED  ] ") and "." in line))  # in order: the first tells most
        if "SKIPPED: no GPU" in output:
            raise Failed("no GPU was found")
        if failed or code not in (0, None):
            raise Failed(f"{len(failed)} of {passed + len(failed)} tests failed: {', '.join(failed[:8])}; exit code {code}")
        if code is None and not sample:
            raise Failed(f"cut off by the clock after {passed} tests")
        if passed == 0:
            raise Failed("no test ran" + (" within the time" if code is None else ""))
        return {"tests_passed": passed, **({} if code == 0 else {"note": "as far as the time went"})}

    def suites(self, program, limit, *arguments):
        """Runs a GoogleTest program suite by suite, each in a process of its own."""
        _, listed = self.call([self.program(program), "--gtest_list_tests"], limit=60)
        names = [line.split()[0] for line in listed.splitlines() if line[:1].strip() and line.split()[0].endswith(".")]
        passed, problems = 0, []
        for name in names:
            try:
                passed += self.tests(program, f"--gtest_filter={name}*", *arguments, limit=limit)["tests_passed"]
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

    # --- the parts

    def layout(self):
        code, output = self.call([self.program("gpu_layout")], limit=60, fatal=False)
        if "SKIPPED" in output:
            raise Failed("no GPU was found")
        lines = output.strip().splitlines() or ["it said nothing"]
        if code != 0:
            raise Failed(" | ".join(line for line in lines if not line.endswith("ok")))
        return {"note": lines[-1]}

    def kernels(self):
        return self.suites("gpu_kernels", 60)

    def backend(self):
        return self.suites("gpu_backend", 150, "--gtest_also_run_disabled_tests")

    def curve(self):
        """fp32 follows the CPU's fp32 to the rounding that 40 steps amplify; bf16 to a few per cent of a nat."""
        result = {}
        for kind in ("mha", "sas"):
            def losses(run, **settings):
                steps, _ = self.run_training(f"quickstart_{kind}", f"curve_{kind}_{run}", eval__every_steps=0,
                                             **CURVE, **settings)
                return [step["loss"] for step in steps]

            cpu = losses("cpu", runtime__device="cpu")
            for precision, allowed in (("fp32", 5e-3), ("bf16", 5e-2)):
                gpu = losses(precision, runtime__device="cuda", runtime__precision=precision)
                again = losses(precision + "_again", runtime__device="cuda", runtime__precision=precision)
                apart = max(abs(a - b) for a, b in zip(cpu, gpu))
                result[f"{kind}_{precision}_max_difference"] = apart
                if len(gpu) != 40 or not apart <= allowed:
                    raise Failed(f"{kind} in {precision} leaves the CPU's losses by {apart:.4f} nats, wanted {allowed}")
                if gpu != again:
                    raise Failed(f"{kind} in {precision}: the same run twice is not the same run")
            if not cpu[-1] < cpu[0] - 1:
                raise Failed(f"{kind}: the loss did not fall: {cpu[0]:.3f} to {cpu[-1]:.3f}")
        return result

    def ranks(self):
        if not any(self.build.rglob("gpu_ranks")):
            return {"status": "not run", "note": "built without NCCL: nccl.h was not found"}
        _, output = self.call([self.program("gpu_ranks"), "--gtest_filter=*GivesItself"], limit=60, fatal=False)
        if "NCCL, which was not found" in output:
            return {"status": "not run", "note": "NCCL's library was not found; LD_LIBRARY_PATH may name its folder"}
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

    def train(self):
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

    def bench(self):
        names = [f"{size}_{kind}" for size in ("124m", "353m") for kind in ("mha", "sas")]
        configs = [*map(self.bench_config, names)]
        names.append("124m_mha_of_50304")  # what an odd vocabulary costs the products with it
        configs.append(self.bench_config("124m_mha", names[-1], vocab_size=50304))
        steps = self.json_of([self.saslm, "bench", "step", *configs, "--json"], 150)
        (self.work / "bench_step.json").write_text(json.dumps(steps))
        kernels = self.json_of([self.saslm, "bench", "kernels", *configs[:2], "--device", "cuda", "--json"], 200)
        return {**{f"{name}_tokens_per_s": run["tokens_per_s"] for name, run in zip(names, steps["runs"])},
                "steps": steps, "kernels": kernels}

    def pytorch(self):
        probe = [sys.executable, "-c", "import torch; assert torch.cuda.is_available()"]
        if self.call(probe, limit=60, fatal=False)[0] != 0:
            return None
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

    def yardstick(self):
        if not self.yardstick_program:
            return None
        file = self.work / "yardstick.json"
        self.call([sys.executable, self.yardstick_program, "--device", "cuda", "--json", file], limit=240)
        return {"results": json.loads(file.read_text())}

    def repeat(self):
        return self.tests("gpu_kernels", env={"SASLM_GPU_REPEATS": "100"}, limit=120, sample=True)

    def sanitizer(self, tool):
        path = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        if not os.path.exists(path):
            return None
        wrapper = (path, "--tool", tool, "--error-exitcode", "9")
        once = {"SASLM_GPU_REPEATS": "1", "SASLM_GPU_GUARDS": "0"}  # guards hide the first bytes beyond a block
        model = self.tests("gpu_backend", "--gtest_filter=*Bf16*gqa_sas", wrapper=wrapper, env=once, limit=60, sample=True)
        kernels = self.tests("gpu_kernels", "--gtest_filter=-*DISABLED_*", wrapper=wrapper, env=once, limit=120, sample=True)
        return {**kernels, "model_tests_passed": model["tests_passed"]}

    def memcheck(self):
        return self.sanitizer("memcheck")

    def racecheck(self):
        return self.sanitizer("racecheck")


PARTS = ("layout", "kernels", "backend", "curve", "ranks", "train", "bench", "pytorch", "yardstick", "repeat", "memcheck", "racecheck")


def first_line(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=HOUSE).stdout.strip().splitlines()[0]
    except (OSError, IndexError):
        return None


def short(result):
    return ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in result.items()
                     if isinstance(value, (int, float, str)) and key not in ("status", "seconds"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build_gpu", help="where gpu_check.sh built")
    parser.add_argument("--build-seconds", type=float, default=0, help="how long that took: it counts")
    parser.add_argument("--out", default="build_gpu/results", help="where results go")
    parser.add_argument("--minutes", type=float, default=9, help="the build included")
    parser.add_argument("--text", help="a folder with train.txt and val.txt; default: scripts/sample_text.sh makes it")
    parser.add_argument("--yardstick", help="a PyTorch program taking --device cuda --json FILE")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    options = parser.parse_args()
    names = options.only.split(",")
    for name in names:
        if name not in PARTS:
            parser.error(f"--only: no part is named {name!r}; there are {', '.join(PARTS)}")

    checks = Checks(options)
    results = {"device": first_line(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]),
               "date": datetime.datetime.now().isoformat(timespec="seconds"),
               "commit": first_line(["git", "rev-parse", "HEAD"]), "build_seconds": options.build_seconds, "parts": {}}
    for name in names:
        began = time.monotonic()
        if checks.seconds_left() < 5:
            part = {"status": "not run", "note": "no time left"}
        else:
            try:
                found = getattr(checks, name)()
                part = {"status": "not run", "note": "nothing to run it with"} if found is None else {"status": "passed", **found}
            except (Failed, OSError, ValueError, KeyError, IndexError) as error:
                part = {"status": "failed", "note": f"{type(error).__name__}: {error}" if type(error) is not Failed else str(error)}
        part["seconds"] = round(time.monotonic() - began, 1)
        results["parts"][name] = part
        (checks.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        print(f"{name:<10} {part['status']:<8} {part['seconds']:7.1f} s  {short(part)}", flush=True)
    statuses = [part["status"] for part in results["parts"].values()]
    print(f"{statuses.count('passed')} passed, {statuses.count('failed')} failed, {statuses.count('not run')} not run; "
          f"{checks.out}/results.json")
    return 1 if "failed" in statuses else 0


if __name__ == "__main__":
    sys.exit(main())
