#!/usr/bin/env python3
"""What saslm must show on a GPU, in parts (scripts/gpu_parts.py): called by gpu_check.sh, which builds for that GPU first.

    scripts/gpu_check.sh --list                              the parts, in order, and the minutes that each may take
    scripts/gpu_check.sh [--only PART,PART] [--minutes 9]    all, or those named; what has no time left is named at the end
    scripts/gpu_check.sh --baseline FILE                     a PyTorch program taking --device cuda --json FILE, timed beside ours

A part ends within its minutes, 9 at most, and the whole call within --minutes; the next call goes on with --only and what
is left. A suite of tests is a process of its own: one that hangs or loses the GPU costs its own time and results alone.
--out gets results.json and results.txt (a table of all parts that this commit has run on this device), log.txt with all
that was said, build.log. Runs and data stay in the build's folder. Exit 1 if any part failed.
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

import gpu_parts
from gpu_parts import HOUSE, PARTS, Failed


class Check(gpu_parts.Parts):
    """Runs programs: every part is a method of gpu_parts.Parts."""

    def __init__(self, options):
        self.build, self.out = pathlib.Path(options.build).resolve(), pathlib.Path(options.out).resolve()
        self.work = self.build / "check"
        self.text = options.text and pathlib.Path(options.text).resolve()
        self.baseline_program, self.silence = options.baseline, options.silence
        self.deadline = self.part_ends = time.monotonic() + 60 * options.minutes - options.build_seconds
        self.saslm = self.build / "saslm"
        self.left_out = []  # of the part that runs
        for folder in (self.out, self.work):
            folder.mkdir(parents=True, exist_ok=True)
        self.log = self.out / "log.txt"
        self.log.unlink(missing_ok=True)
        if (self.build / "build.log").exists() and self.out != self.build:
            shutil.copy(self.build / "build.log", self.out)

    def begin(self, name):
        self.left_out = []
        self.part_ends = min(self.deadline, time.monotonic() + 60 * PARTS[name])

    def seconds_left(self):
        return self.part_ends - time.monotonic()

    def call(self, command, limit=600, env=None, fatal=True):
        """Runs `command` with its output appended to the log; returns (exit code, output). The code is None if the time
        limit ended it. A program without output for --silence seconds counts as hung, which is a failure."""
        with open(self.log, "a") as stream:
            print("$", *command, file=stream, flush=True)
            start = self.log.stat().st_size
            process = subprocess.Popen([str(word) for word in command], stdout=stream, stderr=subprocess.STDOUT, cwd=HOUSE,
                                       env=dict(os.environ, **(env or {})), start_new_session=True)
            code, hangs = self.wait(process, min(limit, self.seconds_left()))
        output = self.log.read_bytes()[start:].decode(errors="replace")
        said = " | ".join(output.strip().splitlines()[-3:])
        name = pathlib.Path(str(command[0])).name
        if hangs:
            raise Failed(f"{name} said nothing for {self.silence:g} s and was ended; it said last: {said or 'nothing'}")
        if fatal and code != 0:
            raise Failed(f"{name} {'was cut off' if code is None else f'ended with {code}'}: {said}")
        return code, output

    def wait(self, process, limit):
        """(exit code, or None where it was ended; whether for its silence)"""
        end, size, spoke = time.monotonic() + max(1, limit), 0, time.monotonic()
        while True:
            try:
                return process.wait(timeout=0.2), False
            except subprocess.TimeoutExpired:
                now = time.monotonic()
            if self.log.stat().st_size != size:
                size, spoke = self.log.stat().st_size, now
            hangs = now - spoke > self.silence
            if hangs or now > end:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return None, hangs


def first_line(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=HOUSE).stdout.strip().splitlines()[0]
    except (OSError, IndexError):
        return None


def short(result):
    return ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in result.items()
                     if isinstance(value, (int, float, str)) and key not in ("status", "seconds"))


def table(results):
    """results.txt: a line a part, and under it the tables and what it left out."""
    lines = [f"{key}: {results[key]}" for key in ("device", "commit", "date", "build_seconds")] + [""]
    for name, part in results["parts"].items():
        lines.append(f"{name:<14} {part['status']:<8} {part['seconds']:7.1f} s  {short(part)}")
        lines += ["    " + line for line in part.get("table", [])]
        lines += ["    left out: " + what for what in part.get("left_out", [])]
    return "\n".join(lines) + "\n"


def run_part(check, name):
    began = time.monotonic()
    if check.deadline - began < 5:
        return {"status": "not run", "note": "no time left", "seconds": 0.0}
    check.begin(name)
    try:
        found = getattr(check, name)()
        part = {"status": "passed", **found}
    except (Failed, OSError, ValueError, KeyError, IndexError) as error:
        part = {"status": "failed", "note": str(error) if type(error) is Failed else f"{type(error).__name__}: {error}"}
    if check.left_out:
        part["left_out"] = check.left_out
        part["status"] = "partly" if part["status"] == "passed" else part["status"]
    return {**part, "seconds": round(time.monotonic() - began, 1)}


def read_earlier(path, results):
    """Parts that an earlier call of the same commit ran on the same device."""
    try:
        earlier = json.loads(path.read_text())
        same = all(earlier[key] == results[key] for key in ("device", "commit"))
        return {name: part for name, part in earlier["parts"].items() if same and name in PARTS and part["status"] != "not run"}
    except (OSError, ValueError, KeyError):
        return {}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build_gpu", help="where gpu_check.sh built")
    parser.add_argument("--build-seconds", type=float, default=0, help="how long the build took, counted towards --minutes")
    parser.add_argument("--out", default="build_gpu/results", help="where results go")
    parser.add_argument("--minutes", type=float, default=9, help="time limit of this call, including the build")
    parser.add_argument("--silence", type=float, default=180, help="seconds without output after which a program counts as hung")
    parser.add_argument("--text", help="a folder with train.txt and val.txt; default: scripts/sample_text.sh makes it")
    parser.add_argument("--baseline", help="a PyTorch program taking --device cuda --json FILE")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--list", action="store_true", help="only print the parts")
    parser.add_argument("--programs", action="store_true", help="only print the programs that the parts run besides saslm")
    options = parser.parse_args()
    for name in options.only.split(","):
        if name not in PARTS:
            parser.error(f"--only: no part is named {name!r}; there are {', '.join(PARTS)}")
    return options


def main():
    options = parse()
    if options.list:
        for name, minutes in PARTS.items():
            print(f"{name:<14} {minutes} min  {gpu_parts.summary(name)}")
        return 0
    if options.programs:
        print(*sorted({program for name in options.only.split(",") for program in gpu_parts.PROGRAMS.get(name, [])}))
        return 0
    check = Check(options)
    results = {"device": first_line(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]),
               "date": datetime.datetime.now().isoformat(timespec="seconds"),
               "commit": first_line(["git", "rev-parse", "HEAD"]), "build_seconds": options.build_seconds, "parts": {}}
    results["parts"] = read_earlier(check.out / "results.json", results)
    ran = {}
    for name in options.only.split(","):
        ran[name] = part = run_part(check, name)
        if part["status"] != "not run" or name not in results["parts"]:
            results["parts"][name] = part
        results["parts"] = {key: results["parts"][key] for key in PARTS if key in results["parts"]}
        (check.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        (check.out / "results.txt").write_text(table(results))
        print(f"{name:<14} {part['status']:<8} {part['seconds']:7.1f} s  {short(part)}", flush=True)
        for line in part.get("table", []) + ["left out: " + what for what in part.get("left_out", [])]:
            print("    " + line, flush=True)
    statuses = [part["status"] for part in ran.values()]
    print(", ".join(f"{statuses.count(s)} {s}" for s in ("passed", "partly", "failed", "not run")) + f"; {check.out}/results.txt")
    undone = [name for name, part in ran.items() if part.get("note") == "no time left" or part.get("left_out")]
    if undone:
        print("not done for want of time: scripts/gpu_check.sh --only " + ",".join(undone))
    return 1 if "failed" in statuses else 0


if __name__ == "__main__":
    sys.exit(main())
