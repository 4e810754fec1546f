#!/usr/bin/env python3
"""Draws docs/figures/sas_shapes.svg: what SAS makes of one token's heads, drawn to scale for configs/124m_sas.json.

    scripts/figures/sas_shapes.py > docs/figures/sas_shapes.svg

Every rectangle is a matrix [heads, features] of one token in one layer; its height and width are its shape.
"""
import json
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "124m_sas.json"
WIDTH, HEIGHT = 400, 770
COLUMNS = [80, 200, 320]  # centres of q, k and v
PER_HEAD = 2              # units of the drawing; a feature is one
GROUPS = ["#7fb3e6", "#f2b25c", "#8fcf9f"]
REAL, INK, QUIET = "#b8bec8", "#1f2430", "#59606e"


def shapes():
    model = json.loads(CONFIG.read_text())["model"]
    attention = model["attention"]
    sas = attention["sas"]
    return (model["d_model"], attention["n_head"], attention["head_dim"], sas["n_sim_head"], sas["sim_head_dim"],
            sas["kernel_size"])


def text(x, y, words, size=13, colour=INK, anchor="middle", weight="normal"):
    return (f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{words}</text>')


def band(x, y, width, height, colour):
    return (f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{colour}" '
            f'stroke="{INK}" stroke-width="0.8"/>')


def matrix(centre, top, heads, features, groups=1):
    """One rectangle, or one band for each group of heads, with its shape below."""
    height = heads * PER_HEAD / groups
    colours = [REAL] if groups == 1 else GROUPS
    bands = [band(centre - features / 2, top + i * height, features, height, colours[i % len(colours)])
             for i in range(groups)]
    return bands + [text(centre, top + heads * PER_HEAD + 15, f"{heads} × {features}", 12, QUIET)]


def line(x1, y1, x2, y2):
    return (f'<line x1="{x1:g}" y1="{y1}" x2="{x2:g}" y2="{y2}" stroke="{INK}" stroke-width="1.2" '
            'marker-end="url(#head)"/>')


def arrow(x, top, bottom):
    return line(x, top, x, bottom)


def step(y, title, detail):
    return [text(WIDTH / 2, y, title, 14, weight="bold"), text(WIDTH / 2, y + 16, detail, 12, QUIET)]


def simulation(H, D, Hs, E, K):
    """From q, k and v to what attention reads."""
    P = Hs // H
    parts = []
    for centre, name in zip(COLUMNS, "qkv"):
        parts += [line(WIDTH / 2, 76, centre, 101), text(centre - D / 2 - 8, 122, name, 14, anchor="end")]
        parts += matrix(centre, 106, H, D)
        parts += [arrow(centre, 150, 162), arrow(centre, 203, 215)]
        parts += matrix(centre, 219, Hs, D, P)
    parts += step(177, "more heads", f"two convolutions, {K} features wide: heads are the channels")
    for centre, name in zip(COLUMNS[:2], "qk"):
        parts += [arrow(centre, 310, 322), arrow(centre, 363, 375)]
        parts += [text(centre - E / 2 - 8, 420, name + "\u0302", 14, anchor="end")]
        parts += matrix(centre, 379, Hs, E, P)
    parts += [text((COLUMNS[0] + COLUMNS[1]) / 2, 337, "wider features", 14, weight="bold"),
              text((COLUMNS[0] + COLUMNS[1]) / 2, 353, "two linear layers; then RoPE", 12, QUIET)]
    values = COLUMNS[2]
    parts += [arrow(values, 310, 480), text(values + 8, 400, "v\u0302", 14, anchor="start")]
    return parts + [arrow(centre, 470, 480) for centre in COLUMNS[:2]]


def figure():
    C, H, D, Hs, E, K = shapes()
    P, middle = Hs // H, WIDTH / 2
    parts = [text(middle, 28, f"{H} heads of {D} act as {Hs} heads of {E}", 16, weight="bold"),
             text(middle, 48, "one token in one layer; boxes: heads × features, to scale", 12, QUIET),
             text(middle, 70, f"x, {C} numbers, times W_q, W_k, W_v", 13)]
    parts += simulation(H, D, Hs, E, K)
    parts += step(495, f"causal attention of {Hs} heads", f"scores over {E} features, values of {D}, scale 1/√{E}")
    parts += [arrow(middle, 519, 531)] + matrix(middle, 535, Hs, D, P) + [arrow(middle, 626, 638)]
    parts += step(653, f"mean over the {P} groups (PEAA)", "each head h is the mean of the groups’ heads h")
    parts += [arrow(middle, 677, 689)] + matrix(middle, 693, H, D)
    parts += [line(middle + D / 2 + 6, 705, middle + 72, 705),
              text(middle + 79, 709, f"W_o: {C} again", 13, anchor="start")]
    parts += [band(20, 746, 10, 10, REAL), text(35, 755, "real heads", 12, anchor="start")]
    for i in range(P):
        parts.append(band(128 + 14 * i, 746, 10, 10, GROUPS[i % len(GROUPS)]))
    parts.append(text(128 + 14 * P + 4, 755, f"simulated heads, {P} groups of {H}", 12, anchor="start"))
    return parts


def main():
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
          'font-family="DejaVu Sans, Verdana, sans-serif" role="img">')
    print("<title>The shapes of SAS for one token in one layer</title>")
    print(f'<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
          f'<path d="M0 0 L8 4 L0 8 z" fill="{INK}"/></marker></defs>')
    print(f'<rect x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="10" fill="#ffffff" stroke="{QUIET}"/>')
    print("\n".join(figure()))
    print("</svg>")


if __name__ == "__main__":
    main()
