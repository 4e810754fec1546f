#!/usr/bin/env python3
"""Measures what checkpoints cost training: alternating runs without checkpoints, with background checkpoints, and with
training waiting, on random tokens.

  scripts/bench/checkpoint_cost.py build/saslm configs/bench_cpu_small_mha.json [--steps 120] [--every 10] [--rounds 3]
"""
import argparse
import array
import json
import random
import statistics
import struct
import subprocess
import tempfile
import time
from pathlib import Path


def write_shard(path, vocab, count=200_000):
    draw = random.Random(1)
    header = [20240520, 1, count] + [0] * 253
    path.write_bytes(struct.pack("<256i", *header) + array.array("H", (draw.randrange(vocab) for _ in range(count))).tobytes())


def run(args, shard, folder, every, background):
    """(seconds a step, milliseconds that training stood still per checkpoint, milliseconds a save took)"""
    run_dir = Path(tempfile.mkdtemp(dir=folder))
    began = time.monotonic()
    subprocess.run([args.saslm, "train", args.config, "--run-dir", run_dir, "--device", args.device,
                    *(word for setting in (f"data.train={shard}", "data.val=", f"train.steps={args.steps}",
                                           f"checkpoint.every_steps={every}", f"checkpoint.background={background}")
                      for word in ("--set", setting))], check=True, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    saves = [event for line in (run_dir / "metrics.jsonl").read_text().splitlines()
             if (event := json.loads(line))["event"] == "checkpoint"][:-1]  # the last is waited for in any case
    mean = lambda key: statistics.mean(save[key] for save in saves) if saves else 0.0
    return seconds / args.steps, mean("stall_ms"), mean("save_ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("saslm")
    parser.add_argument("config")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()

    kinds = {"none": (0, "true"), "background": (args.every, "true"), "standing still": (args.every, "false")}
    seen = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder) / "tokens.bin"
        write_shard(shard, json.loads(Path(args.config).read_text())["model"]["vocab_size"])
        for _ in range(args.rounds):
            for kind, (every, background) in kinds.items():
                seen[kind].append(run(args, shard, folder, every, background))
    without = statistics.median(step for step, *_ in seen["none"])
    print(f"{'checkpoints':>16} {'ms a step':>10} {'stall ms':>9} {'save ms':>9} {'a save costs':>13}")
    for kind, runs in seen.items():
        step, stall, save = (statistics.median(column) for column in zip(*runs))
        cost = (step - without) * args.every
        print(f"{kind:>16} {step * 1e3:10.2f} {stall:9.2f} {save:9.1f} " +
              (f"{cost / without:7.3f} steps" if kind != "none" else ""))


if __name__ == "__main__":
    main()
