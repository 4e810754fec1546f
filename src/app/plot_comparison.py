#!/usr/bin/env python3
"""Draws the plots of a comparison and its report; `saslm compare` runs it.    plot_comparison.py DIR

Reads DIR/results.json and DIR/runs/*/metrics.jsonl, as `saslm compare` writes them; writes DIR/plots/*.svg and
DIR/report.html, one file that needs nothing else. Needs matplotlib (Debian: python3-matplotlib).
"""
import base64
import html
import io
import json
import math
import os
import statistics
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after the backend is chosen)
from matplotlib.ticker import EngFormatter, MaxNLocator  # noqa: E402

# Okabe & Ito's colours, told apart by all kinds of sight; shape and dash say the same again.
BASELINE = dict(color="black", linestyle="-", marker="o")
OTHERS = [dict(color=color, linestyle=dash, marker=marker) for color, dash, marker in (
    ("#D55E00", "-", "s"), ("#0072B2", "-", "^"), ("#009E73", "-", "D"), ("#CC79A7", "-", "v"), ("#E69F00", "-", "P"),
    ("#56B4E9", "-", "X"), ("#D55E00", "--", "s"), ("#0072B2", "--", "^"), ("#009E73", "--", "D"),
    ("#CC79A7", "--", "v"))]
AXES = (("tokens", "tokens", ""), ("flops", "training FLOPs", ""), ("seconds", "training time", "s"))

plt.rcParams.update({
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
    "axes.titlesize": 11, "axes.titlelocation": "left", "svg.hashsalt": "saslm", "figure.constrained_layout.use": True,
})


# ---- What was measured.

class Variant:
    def __init__(self, info, style):
        self.info, self.name, self.style = info, info["name"], style
        self.runs = []  # {"seed", "status", "evals": [(updates, loss)], "steps": [loss]}
        self.step_ms = []

    def scale(self, axis):
        """What one step costs."""
        tokens = self.info["tokens_per_step"]
        seconds = statistics.median(self.step_ms) / 1e3 if self.step_ms else 0
        return {"tokens": tokens, "flops": tokens * self.info["flops_per_token"], "seconds": seconds}[axis]

    def add_run(self, folder, run):
        evals, steps = [], []
        path = folder / run["folder"] / "metrics.jsonl"
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                event = json.loads(line)
            except json.JSONDecodeError:  # the line being written while the run goes on
                continue
            if event["event"] == "eval" and event["val_loss"] is not None:
                evals.append((event["step"], event["val_loss"]))
            elif event["event"] == "step":
                self.step_ms.append(event["step_ms"])
                if event["loss"] is not None:
                    steps.append((event["step"] + 1, event["loss"]))
        self.runs.append({**run, "evals": evals, "steps": steps})

    def label(self):
        return self.name + (" (baseline)" if self.info["baseline"] else "")

    def finished(self):
        return [run for run in self.runs if run["status"] == "finished"]


def load(folder):
    results = json.loads((folder / "results.json").read_text())
    styles = iter(OTHERS * (1 + len(results["variants"]) // len(OTHERS)))
    variants = {info["name"]: Variant(info, BASELINE if info["baseline"] else next(styles))
                for info in results["variants"]}
    for run in results["runs"]:
        variants[run["variant"]].add_run(folder, run)
    return results, list(variants.values())


def interpolate(points, x):
    """Linear between points; None outside."""
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        if x0 <= x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return None


def mean_curve(curves):
    """The mean where every curve has a point at the same x."""
    tables = [dict(curve) for curve in curves]
    shared = sorted(set(tables[0]).intersection(*tables[1:])) if tables else []
    return [(x, statistics.fmean(table[x] for table in tables)) for x in shared]


def smoothed(steps):
    """Exponentially weighted mean over about a fortieth of the run, unbiased at its start."""
    keep = 1 - 1 / max(1.0, len(steps) / 40)
    total = weight = 0.0
    curve = []
    for step, loss in steps:
        total, weight = total * keep + loss, weight * keep + 1
        curve.append((step, total / weight))
    return curve


# ---- Plots.

def plot_lines(ax, variant, curves, scale):
    """Each seed thin, their mean bold."""
    style = variant.style
    for curve in curves:
        ax.plot([x * scale for x, _ in curve], [y for _, y in curve], color=style["color"], alpha=0.3, linewidth=0.8)
    mean = mean_curve([curve for curve in curves if curve])
    if mean:
        ax.plot([x * scale for x, _ in mean], [y for _, y in mean], color=style["color"], linestyle=style["linestyle"],
                linewidth=2.4 if variant.info["baseline"] else 1.8, marker=style["marker"], markersize=4.5,
                markevery=max(1, len(mean) // 8), label=variant.label())


def dress(ax, axis, label, unit):
    ax.set_xlabel(label)
    ax.xaxis.set_major_formatter(EngFormatter(unit=unit, sep=" " if unit else ""))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlim(left=0)


def show_what_counts(ax, curves, from_share):
    """The fall from a random model's loss would flatten all the rest, so a run's beginning may leave the picture."""
    late = [y for curve in curves for x, y in curve if x >= from_share * curve[-1][0]]
    if late:
        margin = 0.06 * (max(late) - min(late)) or 0.1
        ax.set_ylim(min(late) - margin, max(late) + margin)


def row_of_panels(variants, curves_of, y_label, budget):
    figure, panels = plt.subplots(1, 3, figsize=(13, 4.1), sharey=True)
    for ax, (axis, label, unit) in zip(panels, AXES):
        for variant in variants:
            plot_lines(ax, variant, curves_of(variant), variant.scale(axis))
        dress(ax, axis, label, unit)
        ax.set_title("against " + label + (" (the budget)" if axis == budget else ""),
                     fontweight="bold" if axis == budget else "normal")
    show_what_counts(panels[0], [curve for variant in variants for curve in curves_of(variant)], from_share=0.2)
    panels[0].set_ylabel(y_label)
    panels[2].legend(frameon=False)
    return figure


def loss_figure(variants, budget):
    return row_of_panels(variants, lambda v: [run["evals"] for run in v.runs if run["evals"]], "validation loss (nats)",
                         budget)


def train_figure(variants, budget):
    return row_of_panels(variants, lambda v: [smoothed(run["steps"]) for run in v.runs if run["steps"]],
                         "training loss, smoothed (nats)", budget)


def difference_curves(variant, baseline, axis):
    """By seed: (cost, loss - the baseline's loss at that cost), where both have been."""
    of_seed = {run["seed"]: [(x * baseline.scale(axis), y) for x, y in run["evals"]] for run in baseline.finished()}
    curves = []
    for run in variant.finished():
        points = ((x * variant.scale(axis), y) for x, y in run["evals"])
        base = of_seed.get(run["seed"], [])
        curves.append([(x, y - at) for x, y in points if (at := interpolate(base, x)) is not None])
    return [curve for curve in curves if curve]


def difference_figure(variants, budget):
    baseline = next(v for v in variants if v.info["baseline"])
    figure, panels = plt.subplots(1, 3, figsize=(13, 3.6), sharey=True)
    drawn = []
    for ax, (axis, label, unit) in zip(panels, AXES):
        ax.axhline(0, color="black", linewidth=2)
        for variant in variants:
            if variant is not baseline:
                curves = difference_curves(variant, baseline, axis)
                plot_lines(ax, variant, curves, 1)
                drawn += curves
        dress(ax, axis, label, unit)
        ax.set_title("at equal " + label + (" (the budget)" if axis == budget else ""),
                     fontweight="bold" if axis == budget else "normal")
    show_what_counts(panels[0], drawn + [[(1, 0.0)]], from_share=0.5)
    panels[0].set_ylabel(f"validation loss − {baseline.name}'s\n(nats; below 0 is better)")
    if drawn:
        panels[0].legend(frameon=False)
    return figure


def perplexity_figure(variants):
    figure, ax = plt.subplots(figsize=(7.5, 0.9 + 0.55 * len(variants)))
    for y, variant in enumerate(variants):
        ppl, style = variant.info["val_ppl"], variant.style
        seeds = [run["val_ppl"] for run in variant.finished()]
        ax.scatter(seeds, [y] * len(seeds), s=22, color=style["color"], alpha=0.45, zorder=2)
        if not seeds:
            ax.text(0.02, y, "no finished run", transform=ax.get_yaxis_transform(), va="center", color="#a00")
            continue
        ax.errorbar(ppl["mean"], y, xerr=ppl["sd"] or 0, color=style["color"], marker=style["marker"], markersize=8,
                    capsize=5, linewidth=2, zorder=3)
        ax.annotate(f"{ppl['mean']:.3f}", (ppl["mean"], y), xytext=(0, 8), textcoords="offset points", ha="center",
                    color=style["color"])
        if variant.info["baseline"]:
            ax.axvline(ppl["mean"], color="black", linewidth=1, linestyle=":", zorder=1)
    ax.set_yticks(range(len(variants)), [variant.label() for variant in variants])
    ax.set_ylim(len(variants) - 0.4, -0.7)
    ax.margins(x=0.12)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("final validation perplexity; dots are seeds, bars ± one standard deviation; left is better")
    return figure


# ---- The report.

STYLE = """
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; max-width: 1280px; margin: 2em auto;
       padding: 0 1.5em; }
h1 { margin-bottom: 0; } h2 { margin: 1.8em 0 0.3em; } .budget { color: #555; margin-top: 0.3em; }
.verdict { border-left: 5px solid; padding: 0.35em 0.9em; margin: 0.5em 0; background: #f6f6f6; font-size: 1.08em; }
table { border-collapse: collapse; font-size: 0.8em; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: 0.35em 0.4em; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { border-bottom: 2px solid #888; white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; } tr.baseline td { background: #f1f1f1; font-weight: 600; }
td.set { background: #fdf6e3; } td.shown { font-weight: 700; } .bad { color: #a00; }
img { width: 100%; height: auto; } img.narrow { width: 62%; } .scroll { overflow-x: auto; }
.notes, .what { color: #444; font-size: 0.9em; } .swatch { font-weight: 900; }
"""


def human(value, digits=3):
    for size, unit in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.{digits}g}{unit}"
    return f"{value:.{digits}g}"


def spread(summary, digits):
    if not summary["n"]:
        return "–"
    return f"{summary['mean']:.{digits}f}" + (f" ± {summary['sd']:.{digits}f}" if summary["sd"] is not None else "")


def difference_cell(info, budget, chosen):
    reading = info["timing"]["at_equal_seconds"] if budget == "seconds" else info["at_equal_" + budget]
    difference = reading.get("difference")
    text, classes = "baseline" if info["baseline"] else "–", ["set"] if budget == chosen else []
    if difference and difference["pairs"]:
        text = f"{difference['mean']:+.4f}"
        if difference["half_width_95"] is not None:
            text += f" ± {difference['half_width_95']:.4f}"
        text += "" if reading["how"] == "final losses" else "†"
        classes += ["shown"] if difference["shown"] else []
    return f"<td class='{' '.join(classes)}'>{text}</td>"


def table(variants, chosen):
    heads = ["variant", "parameters", "attention", "FLOPs/token", "tokens/s", "memory", "runs", "validation loss",
             "perplexity"]
    heads += [f"Δ equal {word}" + (" *" if axis == chosen else "")
              for (axis, _, _), word in zip(AXES, ("tokens", "FLOPs", "time"))]
    rows = []
    for variant in variants:
        info = variant.info
        speed = info["timing"]["tokens_per_s"]
        runs = f"{info['finished']}/{len(variant.runs)}"
        if info["diverged"]:
            runs += f" <span class=bad>{info['diverged']} diverged</span>"
        cells = [f"{info['parameters']:,}", f"{info['parameters_attention']:,}", human(info["flops_per_token"]),
                 human(speed) if speed else "–", f"{info['arena_bytes'] / 2**20:,.1f} MiB", runs,
                 spread(info["val_loss"], 4), spread(info["val_ppl"], 3)]
        swatch = f"<span class=swatch style='color:{variant.style['color']}'>■</span>"
        name = f"<td>{swatch} {html.escape(variant.name)}</td>"
        rows.append(f"<tr class='{'baseline' if info['baseline'] else ''}'>" + name
                    + "".join(f"<td>{cell}</td>" for cell in cells)
                    + "".join(difference_cell(info, axis, chosen) for axis, _, _ in AXES) + "</tr>")
    return ("<div class=scroll><table><tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>" + "".join(rows)
            + "</table></div>")


def runs_table(results):
    rows = []
    for run in results["runs"]:
        bad = "" if run["status"] == "finished" else " class=bad"
        loss, ppl = (f"{run[key]:.5f}" if run[key] is not None else "–" for key in ("val_loss", "val_ppl"))
        rows.append(f"<tr><td>{html.escape(run['folder'])}</td><td{bad}>{run['status']}</td>"
                    f"<td>{run['steps_done']}</td><td>{loss}</td><td>{ppl}</td></tr>")
    heads = "".join(f"<th>{head}</th>" for head in ("run", "status", "steps", "validation loss", "perplexity"))
    return f"<table><tr>{heads}</tr>{''.join(rows)}</table>"


def image(svg, what, kind=""):
    data = base64.b64encode(svg).decode()
    return f"<img class='{kind}' alt='{html.escape(what)}' src='data:image/svg+xml;base64,{data}'>"


def report(results, variants, pictures):
    value = human(results["budget_value"])
    unit = {"tokens": "tokens", "flops": "FLOPs", "seconds": "seconds of training"}[results["budget"]]
    seeds = ", ".join(map(str, results["seeds"]))
    verdicts = "".join(f"<p class=verdict style='border-color:{v.style['color']}'>{html.escape(v.info['sentence'])}</p>"
                       for v in variants)
    unfinished = "" if results["complete"] else "<p class=bad>Not all runs are done; this is what there is so far.</p>"
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in results["notes"] + results["timing"]["notes"])
    title = " · ".join(html.escape(v.name) for v in variants)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head><body>
<h1>{title}</h1>
<p class=budget>{value} {unit} per run · seeds {seeds} · {html.escape(results['data'])}</p>
{unfinished}{verdicts}
{image(pictures['final_ppl'], 'final validation perplexity per variant', 'narrow')}
<h2>All figures</h2>
{table(variants, results['budget'])}
<div class=notes>{notes}</div>
<h2>Validation loss</h2>
<p class=what>Thin lines are seeds, bold ones their mean; the first fifth of a run may lie above the picture.</p>
{image(pictures['val_loss'], 'validation loss against tokens, FLOPs and time')}
<h2>Difference to the baseline</h2>
<p class=what>Paired by seed, finished runs only, beginnings may leave the picture; curves at equal FLOPs or time
compare different points of the learning rate's schedule.</p>
{image(pictures['difference'], 'difference of validation loss to the baseline')}
<h2>Training loss</h2>
{image(pictures['train_loss'], 'smoothed training loss against tokens, FLOPs and time')}
<h2>Runs</h2>
{runs_table(results)}
</body></html>
"""


def write(path, data):
    """Whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)  # of a killed process; and what is a link would be written through
    with open(temporary, "xb") as file:
        file.write(data)
    os.replace(temporary, path)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    results, variants = load(folder)
    figures = {"val_loss": loss_figure(variants, results["budget"]),
               "difference": difference_figure(variants, results["budget"]),
               "train_loss": train_figure(variants, results["budget"]),
               "final_ppl": perplexity_figure(variants)}
    (folder / "plots").mkdir(exist_ok=True)
    pictures = {}
    for name, figure in figures.items():
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
        plt.close(figure)
        pictures[name] = out.getvalue()
        write(folder / "plots" / f"{name}.svg", pictures[name])
    write(folder / "report.html", report(results, variants, pictures).encode())


if __name__ == "__main__":
    main()
