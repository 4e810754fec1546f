#!/usr/bin/env python3
"""The last screen of quickstart.sh: the verdict, the table's main columns, where the rest is, what to do next.

    scripts/quickstart_screen.py FOLDER BUILD_S COMPARE_S REST_S

FOLDER has table.txt, what `saslm compare` printed, and mha.txt and sas.txt, what the two models wrote.
"""
import re
import sys
import textwrap
from pathlib import Path

WIDTH = 99
SPREAD = "± after a loss: standard deviation over seeds; after a difference: 95 % interval."
COLUMNS = ("variant", "parameters", "FLOPs/token", "tokens/s", "val loss", "Δ equal tokens *", "Δ equal FLOPs")


def cells(line, starts):
    return [line[begin:end].strip() for begin, end in zip(starts, [*starts[1:], None])]


def main_columns(table):
    """The columns of COLUMNS, from lines whose second is of hyphens, one run of them above each column."""
    starts = [match.start() for match in re.finditer("-+", table[1])]
    head = cells(table[0], starts)
    keep = [head.index(name) for name in COLUMNS if name in head]
    rows = [[cells(line, starts)[k] for k in keep] for line in table if not line.startswith("-")]
    widths = [max(len(row[k]) for row in rows) for k in range(len(keep))]
    rows.insert(1, ["-" * width for width in widths])
    return ["  ".join(cell.ljust(width) if k == 0 else cell.rjust(width) for k, (cell, width) in enumerate(zip(row, widths)))
            for row in rows]


def paragraph(text):
    return textwrap.wrap(text, WIDTH)


def written(folder, kind):
    line = " ".join((folder / f"{kind}.txt").read_text(encoding="utf-8", errors="replace").split())
    return f"  {kind}  {line}"[:WIDTH]


def pictures(folder):
    if not (folder / "report.html").exists():
        return [f"results  {folder}/results.md (pictures need python3 with matplotlib)"]
    return [f"report   {folder}/report.html", f"pictures {folder}/plots/{{val_loss,difference}}.svg"]


def main():
    folder, seconds = Path(sys.argv[1]), sys.argv[2:]
    table, verdict, notes = ([*part.splitlines()] for part in (folder / "table.txt").read_text(encoding="utf-8").split("\n\n")[:3])
    dagger = [line.split(",")[0] + "; no verdict." for line in notes if line.startswith("†")]
    lines = ["== result", *main_columns(table), *paragraph(" ".join([notes[0], SPREAD, *dagger])), ""]
    for sentence in verdict[1:]:
        lines += paragraph(sentence)
    lines += ["", "They continue a text (seed 1):", written(folder, "mha"), written(folder, "sas"), "",
              *pictures(folder / "compare"),
              "took     {} s to install and build, {} s to train and compare, {} s for the rest".format(*seconds), "",
              "next     scripts/quickstart.sh YOUR_TEXT.txt    the same comparison on a text of your own",
              "         docs/tutorial.md                       from a text to a verdict, step by step",
              "         docs/experiments.md                    what longer training has shown"]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
