#!/usr/bin/env python3
"""The table of docs/performance.md: saslm's training steps beside PyTorch's, from what both printed on one machine.

    saslm bench step CONFIG... --json > saslm.json
    torch_step.py CONFIG... --json > torch.json
    speed_table.py saslm.json torch.json

A line per way that PyTorch ran a config; the ratio is saslm's tokens/s over PyTorch's. Refuses to compare what is not the
same work: other parameters, tokens a step or FLOPs a token.
"""
import json
import os
import sys


def rows_of(path):
    with open(path) as file:
        found = json.load(file)
    return found.get("runs", [found])


def name_of(row):
    return os.path.splitext(os.path.basename(row["config"]))[0]


def speed(row):
    tokens = row["tokens_per_step"] * 1e3
    return f"{row['tokens_per_s']:,.0f} ({tokens / row['step_ms_max']:,.0f}–{tokens / row['step_ms_min']:,.0f})"


def gib(row):
    return f"{row['memory_bytes'] / 2 ** 30:.1f}"


def line(ours, theirs):
    what = ", ".join(theirs[key] for key in ("form", "mode", "precision") if theirs[key] != "-")
    cells = [f"`{name_of(ours)}`", speed(ours), f"{ours['percent_of_peak']:.1f}", gib(ours), what]
    if "error" in theirs:
        return cells + ["–", f"did not run: {theirs['error'].splitlines()[0]}", "–", "–"]
    for key in ("parameters", "tokens_per_step", "flops_per_token"):
        if ours[key] != theirs[key]:
            sys.exit(f"{name_of(ours)}: {key} is {ours[key]} in saslm's file and {theirs[key]} in PyTorch's; "
                     "time the same configs with the same settings")
    return cells + [theirs["attention"], speed(theirs), gib(theirs), f"{ours['tokens_per_s'] / theirs['tokens_per_s']:.2f}"]


def table(ours, theirs):
    head = ["config", "saslm, tokens/s (range)", "% of peak", "GiB", "PyTorch", "attention", "tokens/s (range)", "GiB", "ratio"]
    yield head
    yield ["---" if title in ("config", "PyTorch", "attention") else "---:" for title in head]
    for row in ours:
        matching = [other for other in theirs if name_of(other) == name_of(row)]
        if not matching:
            sys.exit(f"{name_of(row)}: PyTorch's file has no such config; it has {', '.join(sorted(set(map(name_of, theirs))))}")
        for other in matching:
            yield line(row, other)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: speed_table.py SASLM.json TORCH.json")
    ours, theirs = map(rows_of, sys.argv[1:])
    print(f"saslm on {ours[0]['device']}; percent of {ours[0]['peak_gflop_per_s'] / 1e3:.1f} TFLOP/s "
          f"({ours[0]['peak_from']}). PyTorch {theirs[0]['torch']} on {theirs[0]['device']}.\n")
    for cells in table(ours, theirs):
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
