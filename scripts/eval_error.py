#!/usr/bin/env python3
"""The error of evaluating only n sequences instead of all: for the mean loss, and for the difference of two models.

    saslm eval --checkpoint A --data '...' --losses a.jsonl      # all sequences, one by one
    saslm eval --checkpoint B --data '...' --losses b.jsonl
    scripts/eval_error.py a.jsonl b.jsonl --error 0.003

Prints the standard deviation over sequences of A's loss, of B's, and of their paired difference; how many sequences a
standard error of --error takes if they were drawn at random; and what evenly spread ones give, by drawing many such
samples (one from each of n stretches of equal length, as saslm draws them).
"""
import argparse
import json
import math
import random
import statistics
from pathlib import Path


def read(path):
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return {row["sample"]: row["loss"] for row in rows}


def spread(values, n, draw):
    bounds = [k * len(values) // n for k in range(n + 1)]
    return statistics.fmean(values[draw.randrange(a, b)] for a, b in zip(bounds, bounds[1:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("losses", nargs="+", help="one file, or two of the same samples")
    parser.add_argument("--error", type=float, default=0.003, help="wanted standard error in nats (0.003)")
    parser.add_argument("--draws", type=int, default=400, help="number of spread samples per n (400)")
    args = parser.parse_args()
    losses = [read(path) for path in args.losses]
    samples = sorted(losses[0])
    if any(sorted(other) != samples for other in losses):
        parser.error("the files are of different samples")
    columns = {path: [of[s] for s in samples] for path, of in zip(args.losses, losses)}
    for i, first in enumerate(args.losses):
        for second in args.losses[i + 1:]:
            columns[f"{second} - {first}"] = [b - a for a, b in zip(columns[first], columns[second])]
    draw = random.Random(1)
    for name, values in columns.items():
        deviation = statistics.stdev(values)
        print(f"{name}: {len(values)} sequences, mean {statistics.fmean(values):.4f}, s.d. {deviation:.4f}; "
              f"at random +-{args.error} takes {math.ceil((deviation / args.error) ** 2)}")
        n = 64
        while n < len(values):
            means = [spread(values, n, draw) for _ in range(args.draws)]
            print(f"  {n} spread evenly: +-{statistics.stdev(means):.4f}; at random +-{deviation / math.sqrt(n):.4f}; "
                  f"the first {n}: off by {statistics.fmean(values[:n]) - statistics.fmean(values):+.4f}")
            n *= 2


if __name__ == "__main__":
    main()
