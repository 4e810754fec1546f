#!/usr/bin/env python3
"""Draws the plots of a comparison and its report; `saslm compare` runs it.    plot_comparison.py DIR

Reads DIR/results.json and DIR/plots/curves.json, as `saslm compare` writes them; writes DIR/plots/*.svg and
DIR/report.html, one file that needs nothing else. Needs matplotlib (Debian: python3-matplotlib).
"""
import base64
import html
import io
import json
import math
import os
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
    def __init__(self, info, curves, style):
        self.info, self.name, self.style = info, info["name"], style
        self.step_s = curves["step_s"] or 0
        self.curves = curves["runs"]  # by seed: {"evals": [[updates, loss]], "training", "difference": {axis: ...}}
        self.runs = []  # by seed: {"seed", "status", ...}

    def scale(self, axis):
        """The cost of one step."""
        tokens = self.info["tokens_per_step"]
        return {"tokens": tokens, "flops": tokens * self.info["flops_per_token"], "seconds": self.step_s}[axis]

    def reading(self, axis):
        """The table's entry of this variant at equal tokens, FLOPs or time, and where it was read."""
        return self.info["timing"]["at_equal_seconds"] if axis == "seconds" else self.info["at_equal_" + axis]

    def label(self):
        return self.name + (" (baseline)" if self.info["baseline"] else "")

    def finished(self):
        return [run for run in self.runs if run["status"] == "finished"]


def load(folder):
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    curves = json.loads((folder / "plots" / "curves.json").read_text(encoding="utf-8"))
    styles = iter(OTHERS * (1 + len(results["variants"]) // len(OTHERS)))
    variants = {info["name"]: Variant(info, its, BASELINE if info["baseline"] else next(styles))
                for info, its in zip(results["variants"], curves["variants"])}
    for run in results["runs"]:
        variants[run["variant"]].runs.append(run)
    return results, list(variants.values())


def mean_curve(curves):
    """The mean at each x where every curve has a point."""
    tables = [dict(curve) for curve in curves]
    shared = sorted(set(tables[0]).intersection(*tables[1:])) if tables else []
    return [(x, sum(table[x] / len(tables) for table in tables)) for x in shared]


# ---- Plots.

def plot_lines(ax, variant, curves, scale):
    """Each seed as a thin line, their mean bold."""
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
    """Crops the start of the runs: the initial drop from a random model's loss would flatten the rest."""
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
    return row_of_panels(variants, lambda v: [run["evals"] for run in v.curves if run["evals"]],
                         "validation loss (nats)", budget)


def paired_differences(variant, baseline):
    """Of final losses, by seed."""
    losses = {run["seed"]: run["val_loss"] for run in baseline.finished()}
    return [run["val_loss"] - losses[run["seed"]] for run in variant.finished()
            if run["val_loss"] is not None and losses.get(run["seed"]) is not None]


def summary_figure(variants, budget):
    """One summary picture: the curves under the budget, and the final differences with their interval."""
    baseline = next(v for v in variants if v.info["baseline"])
    others = [v for v in variants if v is not baseline]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, max(3.6, 1.4 + 0.45 * len(others))),
                                         gridspec_kw={"width_ratios": (1.2, 1)})
    axis, label, unit = next(one for one in AXES if one[0] == budget)
    for variant in variants:
        plot_lines(left, variant, [run["evals"] for run in variant.curves if run["evals"]], variant.scale(axis))
    dress(left, axis, label, unit)
    show_what_counts(left, [run["evals"] for v in variants for run in v.curves if run["evals"]], from_share=0.2)
    left.set_ylabel("validation loss (nats)")
    left.set_title("thin: single seeds, bold: their mean")
    left.legend(frameon=False)
    for y, variant in enumerate(others):
        difference, style = variant.reading(budget).get("difference"), variant.style
        right.scatter(paired_differences(variant, baseline), [y] * len(paired_differences(variant, baseline)), s=22,
                      color=style["color"], alpha=0.45, zorder=2)
        if not difference or difference["mean"] is None:
            right.text(0.5, y, "no figure", transform=right.get_yaxis_transform(), va="center", color="#a00")
            continue
        right.errorbar(difference["mean"], y, xerr=difference["half_width_95"] or 0, color=style["color"],
                       marker=style["marker"], markersize=8, capsize=5, linewidth=2, zorder=3)
        text = f"{difference['mean']:+.{difference['decimals']}f}"
        if difference["half_width_95"] is not None:
            text += f" ± {difference['half_width_95']:.{difference['decimals']}f}"
        text += " (no spread)" if difference["suspicious"] else " (one seed)" if difference["pairs"] == 1 else ""
        right.annotate(text, (difference["mean"], y), xytext=(0, 9), textcoords="offset points", ha="center",
                       color=style["color"])
    right.axvline(0, color="black", linewidth=2, zorder=1)
    right.set_yticks(range(len(others)), [variant.name for variant in others])
    right.set_ylim(len(others) - 0.4, -0.7)
    right.margins(x=0.15)
    right.xaxis.set_major_locator(MaxNLocator(5))
    right.grid(axis="y", visible=False)
    right.set_title(f"at equal {label}: bars are 95 % intervals, dots seeds")
    right.set_xlabel(f"validation loss − {baseline.name}'s (nats); left of 0 is better")
    return figure


def train_figure(variants, budget):
    return row_of_panels(variants, lambda v: [run["training"] for run in v.curves if run["training"]],
                         "training loss, smoothed (nats)", budget)


def show_interval(ax, variant, axis):
    """The table's 95 % interval as a bar, at the amount it holds for; returns its ends."""
    reading = variant.reading(axis)
    difference = reading.get("difference")
    if not difference or difference["half_width_95"] is None:
        return []
    mean, half = difference["mean"], difference["half_width_95"]
    bar = ax.errorbar(reading["at"], mean, yerr=half, color=variant.style["color"], capsize=5, linewidth=2, zorder=3)
    bar.lines[2][0].set_gid(f"interval-{axis}-{variant.name}")
    return [mean - half, mean + half]


def difference_figure(variants, budget):
    baseline = next(v for v in variants if v.info["baseline"])
    figure, panels = plt.subplots(1, 3, figsize=(13, 3.6), sharey=True)
    drawn = []
    for ax, (axis, label, unit) in zip(panels, AXES):
        ax.axhline(0, color="black", linewidth=2)
        for variant in variants:
            if variant is not baseline:
                curves = [run["difference"][axis] for run in variant.curves if run["difference"][axis]]
                plot_lines(ax, variant, curves, 1)
                drawn += curves + [[(1, end)] for end in show_interval(ax, variant, axis)]
        dress(ax, axis, label, unit)
        if axis == "seconds" and any(variant.info["timing"]["unsteady"] for variant in variants):
            ax.text(0.5, 0.03, "not all speeds are steady: see the notes", transform=ax.transAxes, ha="center",
                    color="#a00", fontsize=8)
        ax.set_title("at equal " + label + (" (the budget)" if axis == budget else ""),
                     fontweight="bold" if axis == budget else "normal")
    show_what_counts(panels[0], drawn + [[(1, 0.0)]], from_share=0.5)
    panels[0].set_ylabel(f"validation loss − {baseline.name}'s\n(nats; below 0 is better; bars: 95 %)")
    if drawn:
        panels[0].legend(frameon=False)
    return figure


def perplexity_figure(variants):
    figure, ax = plt.subplots(figsize=(7.5, 0.9 + 0.55 * len(variants)))
    largest = max((run["val_ppl"] or 0 for variant in variants for run in variant.finished()), default=0)
    for y, variant in enumerate(variants):
        ppl, style = variant.info["val_ppl"], variant.style
        seeds = [run["val_ppl"] for run in variant.finished() if run["val_ppl"] is not None]
        ax.scatter(seeds, [y] * len(seeds), s=22, color=style["color"], alpha=0.45, zorder=2)
        if not seeds or ppl["mean"] is None:
            ax.text(0.02, y, "perplexity too large for a number" if variant.finished() else "no finished run", transform=ax.get_yaxis_transform(), va="center", color="#a00")
            continue
        ax.errorbar(ppl["mean"], y, xerr=ppl["sd"] or 0, color=style["color"], marker=style["marker"], markersize=8,
                    capsize=5, linewidth=2, zorder=3)
        ax.annotate(f"{ppl['mean']:.3f}", (ppl["mean"], y), xytext=(0, 8), textcoords="offset points", ha="center",
                    color=style["color"])
        if variant.info["baseline"]:
            ax.axvline(ppl["mean"], color="black", linewidth=1, linestyle=":", zorder=1)
    if largest > 1e6:
        ax.set_xscale("log")
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
td.note { white-space: normal; text-align: left; } td.set { background: #fdf6e3; } td.shown { font-weight: 700; } .bad { color: #a00; }
img { width: 100%; height: auto; } img.narrow { width: 62%; } .scroll { overflow-x: auto; }
@media (max-width: 700px) {  /* a picture of three panels is scrolled, not shrunk until nothing can be read */
  body { margin: 1em auto; padding: 0 0.8em; } img.narrow { width: 100%; }
  .wide { overflow-x: auto; } .wide img:not(.narrow) { width: 900px; }
  .budget { overflow-wrap: anywhere; }
}
.notes, .what { color: #444; font-size: 0.9em; } .swatch { font-weight: 900; }
"""


def human(value, digits=3):
    for size, unit in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.{digits}g}{unit}"
    return f"{value:.{digits}g}"


def figure_text(value, digits, sign=""):
    """JSON has no infinity; numbers that were too large are null."""
    return "inf" if value is None else f"{value:{sign}.{digits}f}"


def spread(summary, digits):
    if not summary["n"]:
        return "–"
    if summary["sd"] is None:
        return figure_text(summary["mean"], digits)
    if summary["sd"] <= 1e-9 * max(1, abs(summary["mean"])):  # rounding
        return figure_text(summary["mean"], digits) + " (no spread)"
    digits = min(12, max(digits, 1 - math.floor(math.log10(summary["sd"]))))
    return f"{figure_text(summary['mean'], digits)} ± {summary['sd']:.{digits}f}"


def difference_cell(variant, budget, chosen):
    reading = variant.reading(budget)
    difference = reading.get("difference")
    text, classes = "baseline" if variant.info["baseline"] else "–", ["set"] if budget == chosen else []
    if difference and difference["pairs"]:
        text = figure_text(difference["mean"], difference["decimals"], "+")
        if difference["half_width_95"] is not None:
            text += f" ± {difference['half_width_95']:.{difference['decimals']}f}"
        text += " (no spread)" if difference["suspicious"] else ""
        text += "" if reading["how"] == "final losses" else "†"
        classes += ["shown"] if difference["shown"] else []
    why = f" title='{html.escape(reading['why_not'])}'" if reading["why_not"] else ""
    return f"<td class='{' '.join(classes)}'{why}>{text}</td>"


def speed_text(timing):
    if not timing["tokens_per_s"]:
        return "–"
    low, high = timing["tokens_per_s_from_to"]
    return human(timing["tokens_per_s"]) if high <= 1.1 * low else f"{human(low)}–{human(high)}"


def table(variants, chosen):
    heads = ["variant", "parameters", "attention", "FLOPs/token", "tokens/s", "memory", "runs", "validation loss",
             "perplexity"]
    bits = any(variant.info["val_bpb"]["n"] for variant in variants)
    heads += ["bits per byte"] if bits else []
    heads += [f"Δ equal {word}" + (" *" if axis == chosen else "")
              for (axis, _, _), word in zip(AXES, ("tokens", "FLOPs", "time"))]
    rows = []
    for variant in variants:
        info = variant.info
        runs = f"{info['finished']}/{len(variant.runs)}"
        if info["diverged"]:
            runs += f" <span class=bad>{info['diverged']} diverged</span>"
        cells = [f"{info['parameters']:,}", f"{info['parameters_attention']:,}", human(info["flops_per_token"]),
                 speed_text(info["timing"]), f"{info['arena_bytes'] / 2**20:,.1f} MiB", runs,
                 spread(info["val_loss"], 4), spread(info["val_ppl"], 3)]
        cells += [spread(info["val_bpb"], 4)] if bits else []
        swatch = f"<span class=swatch style='color:{variant.style['color']}'>■</span>"
        name = f"<td>{swatch} {html.escape(variant.name)}</td>"
        rows.append(f"<tr class='{'baseline' if info['baseline'] else ''}'>" + name
                    + "".join(f"<td>{cell}</td>" for cell in cells)
                    + "".join(difference_cell(variant, axis, chosen) for axis, _, _ in AXES) + "</tr>")
    return ("<div class=scroll><table><tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>" + "".join(rows)
            + "</table></div>")


def runs_table(results):
    rows = []
    for run in results["runs"]:
        bad = "" if run["status"] == "finished" else " class=bad"
        done = run["status"] == "finished"
        loss, ppl = (figure_text(run[key], 5) if done else "–" for key in ("val_loss", "val_ppl"))
        rows.append(f"<tr><td>{html.escape(run['folder'])}</td><td{bad}>{run['status']}</td>"
                    f"<td>{run['steps_done']}</td><td>{loss}</td><td>{ppl}</td>"
                    f"<td class=note>{html.escape(run['note'] or '')}</td></tr>")
    heads = "".join(f"<th>{head}</th>" for head in ("run", "status", "steps", "validation loss", "perplexity", "note"))
    return f"<div class=scroll><table><tr>{heads}</tr>{''.join(rows)}</table></div>"


def image(svg, what, kind=""):
    data = base64.b64encode(svg).decode()
    return f"<div class=wide><img class='{kind}' alt='{html.escape(what)}' src='data:image/svg+xml;base64,{data}'></div>"


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
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>{STYLE}</style></head><body>
<h1>{title}</h1>
<p class=budget>{value} {unit} per run · seeds {seeds} · {html.escape(results['data'])}</p>
{unfinished}{verdicts}
{image(pictures['summary'], 'validation loss under the budget, and the difference to the baseline with its interval')}
<h2>All figures</h2>
{table(variants, results['budget'])}
<div class=notes>{notes}</div>
<h2>Validation loss</h2>
<p class=what>Thin lines are seeds, bold ones their mean; the first fifth of a run may lie above the picture.</p>
{image(pictures['val_loss'], 'validation loss against tokens, FLOPs and time')}
<h2>Final perplexity</h2>
{image(pictures['final_ppl'], 'final validation perplexity per variant', 'narrow')}
<h2>Difference to the baseline</h2>
<p class=what>Paired by seed, finished runs only, beginnings may leave the picture. Bars are the 95 % intervals of the
table. Curves at equal FLOPs or time compare different points of the learning rate's schedule.</p>
{image(pictures['difference'], 'difference of validation loss to the baseline')}
<h2>Training loss</h2>
{image(pictures['train_loss'], 'smoothed training loss against tokens, FLOPs and time')}
<h2>Runs</h2>
{runs_table(results)}
</body></html>
"""


def write(path, data):
    """Writes atomically, and in this folder even if a link has that name."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)  # left by a killed process; a link would be written through
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    results, variants = load(folder)
    figures = {"summary": summary_figure(variants, results["budget"]),
               "val_loss": loss_figure(variants, results["budget"]),
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
