#!/usr/bin/env python3
"""docs/sas.md and docs/variants.md: their formulas and figures agree with `saslm plan`, and the figure with its script.
Formulas are read from the pages and evaluated."""
import json
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import harness
from harness import AppTest, saslm

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"D\u0302": "E", "\u0124": "Hs", "κ": "K", "·": "*", "²": "**2"}
BOOKS_SAS = ("model.attention.kind=sas", 'model.attention.sas={"n_sim_head":12,"sim_head_dim":48}',
             "model.mlp.hidden=316")


def page(name):
    return unicodedata.normalize("NFC", (ROOT / "docs" / name).read_text(encoding="utf-8"))


def value(formula, sizes):
    for sign, word in NAMES.items():
        formula = formula.replace(sign, word)
    return eval(formula, {"__builtins__": {}}, sizes)  # of our own page


def row(text, first_cell):
    """The other cells of the table's row that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first_cell}"))
    return [cell.strip() for cell in line.strip("| ").split("|")][1:]


def integers(cell):
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", cell)]


def sizes_of(config):
    model = config["model"]
    a = model["attention"]
    sizes = {"d": model["d_model"], "H": a["n_head"], "D": a.get("head_dim"), "T": config["train"]["seq_len"],
             "G": a.get("n_kv_head")}
    if "mla" in a:
        mla = a["mla"]
        sizes |= {"q_rank": mla["q_rank"], "kv_rank": mla["kv_rank"], "n": mla["nope_dim"], "r": mla["rope_dim"],
                  "v": mla["v_dim"]}
    if "tpa" in a:
        sizes["R"] = sum(a["tpa"].values())
    if "sas" in a:
        sizes |= {"Hs": a["sas"]["n_sim_head"], "E": a["sas"]["sim_head_dim"], "K": a["sas"]["kernel_size"]}
    return sizes


class PageTest(AppTest):
    def plan(self, name, *settings):
        """What `plan` says of a shipped config; whether it would fit into this machine does not matter."""
        words = [word for setting in settings for word in ("--set", setting)]
        said = saslm("plan", "--no-data", "--json", ROOT / "configs" / f"{name}.json", *words)
        self.assertTrue(said.out, said.err)
        config = json.loads((ROOT / "configs" / f"{name}.json").read_text())
        return json.loads(said.out), config["model"]["n_layer"], sizes_of(config)


class Sas(PageTest):
    def formula(self, line):
        found = re.search(rf"^{re.escape(line)} {{2,}}(.+?)(?: {{3,}}.*)?$", page("sas.md"), re.M)
        self.assertTrue(found, line)
        return found.group(1)

    def test_formulas_of_parameters_and_flops_are_plans(self):
        for name in ("124m_sas", "353m_sas", "debug_cpu_sas", "quickstart_sas"):
            with self.subTest(name):
                plan, layers, sizes = self.plan(name)
                self.assertEqual(layers * value(self.formula("kind sas, in all"), sizes),
                                 plan["parameters_by_part"]["sas"])
                parts = ("projections (as mha)", "simulation", "attention")
                self.assertEqual(layers * sum(value(self.formula(part), sizes) for part in parts),
                                 plan["flops_per_token_by_part"]["attention"])

    def test_the_table_has_plans_figures(self):
        text = page("sas.md")
        columns = [(self.plan("124m_sas")[0], self.plan("124m_mha")[0]),
                   (self.plan("books_mha", *BOOKS_SAS)[0], self.plan("books_mha")[0])]
        for column, (sas, mha) in enumerate(columns):
            cells = {first: row(text, first)[column] for first in
                     ("SAS adds", "FLOPs/token, whole", "the same of mha", "ratio", "FLOPs/token, projections",
                      "FLOPs/token, simulation", "FLOPs/token, attention")}
            self.assertEqual(integers(cells["SAS adds"])[0], sas["parameters_by_part"]["sas"])
            self.assertEqual(integers(cells["FLOPs/token, whole"]), [sas["flops_per_token"]])
            self.assertEqual(integers(cells["the same of mha"]), [mha["flops_per_token"]])
            self.assertEqual(cells["ratio"].strip("*"), f"{sas['flops_per_token'] / mha['flops_per_token']:.2f}")
            projections = integers(cells["FLOPs/token, projections"])[0]
            simulation = integers(cells["FLOPs/token, simulation"])[0]
            attention, of_mha = integers(cells["FLOPs/token, attention"])
            self.assertEqual(projections + simulation + attention, sas["flops_per_token_by_part"]["attention"])
            self.assertEqual(projections + of_mha, mha["flops_per_token_by_part"]["attention"])

    def test_the_figure_is_what_its_script_draws(self):
        drawn = subprocess.run([sys.executable, ROOT / "scripts" / "figures" / "sas_shapes.py"], check=True,
                               stdout=subprocess.PIPE).stdout
        self.assertEqual((ROOT / "docs" / "figures" / "sas_shapes.svg").read_bytes(), drawn)


class Variants(PageTest):
    def test_formulas_of_parameters_are_plans(self):
        costs = page("variants.md").split("## What each costs")[1]
        for kind in ("mha", "mqa", "gqa", "mla", "tpa", "mhe", "moh"):
            formula = row(costs, f"`{kind}`")[0].split(";")[0]
            for name in (f"124m_{kind}", f"debug_cpu_{kind}"):
                with self.subTest(name):
                    plan, layers, sizes = self.plan(name)
                    parts = plan["parameters_by_part"]
                    self.assertEqual(layers * value(formula, sizes), parts["attention"] + parts.get("moh", 0))

    def test_the_table_of_124m_has_plans_figures(self):
        text = page("variants.md")
        mha = self.plan("124m_mha")[0]
        for kind in ("mha", "mqa", "gqa", "sas", "mla", "tpa", "mhe", "moh", "tpa_sas"):
            with self.subTest(kind):
                _, attention, parameters, flops = row(text, f"`124m_{kind}`")
                plan, layers, _ = self.plan(f"124m_{kind}")
                parts = plan["parameters_by_part"]
                self.assertEqual(integers(attention),
                                 [sum(parts.get(part, 0) for part in ("attention", "sas", "moh")) // layers])
                more = [plan[key] / mha[key] - 1 for key in ("parameters", "flops_per_token")]
                self.assertEqual(parameters.replace("−", "-").replace(" %", "%"),
                                 f"{mha['parameters']:,}" if kind == "mha" else f"{more[0]:+.2%}")
                said = f"{plan['flops_per_token'] / 1e6:,.0f}M" + ("" if kind == "mha" else f" ({more[1]:+.1%})")
                self.assertEqual(flops.replace(" %", "%"), said)


if __name__ == "__main__":
    harness.main()
