#!/usr/bin/env python3
"""Prints one row per finished run: size, speed and quality.    quickstart_table.py SASLM WORK_DIR RUN..."""
import json
import statistics
import subprocess
import sys


def row(saslm, work, name):
    events = [json.loads(line) for line in open(f"{work}/{name}/metrics.jsonl")]
    start = next(e for e in events if e["event"] == "start")
    steps = [e for e in events if e["event"] == "step"]
    result = subprocess.run(
        [saslm, "eval", "--checkpoint", f"{work}/{name}", "--data", f"{work}/data/val_*.bin", "--json"],
        check=True, capture_output=True, text=True)
    final = json.loads(result.stdout)
    return (name, f"{start['parameters']:,}", f"{steps[-1]['tokens']:,}",
            f"{statistics.median(e['tokens_per_s'] for e in steps):,.0f}",
            f"{final['ppl']:.3f}", f"{final['bits_per_byte']:.3f}")


def main():
    saslm, work, *names = sys.argv[1:]
    head = ("model", "parameters", "tokens seen", "tokens/s", "validation perplexity", "bits per byte")
    rows = [head] + [row(saslm, work, name) for name in names]
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    for i, r in enumerate(rows):
        print("  ".join(cell.ljust(w) if j == 0 else cell.rjust(w) for j, (cell, w) in enumerate(zip(r, widths))))
        if i == 0:
            print("  ".join("-" * w for w in widths))


if __name__ == "__main__":
    main()
