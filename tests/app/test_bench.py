#!/usr/bin/env python3
"""The benchmarks' outputs are consistent, for kernels and for whole steps."""
import shutil
import unittest

import harness
from harness import USER, AppTest, saslm, tiny_config

QUICK = ("--samples", "2", "--sample-ms", "0")


class Kernels(AppTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mha, cls.sas = (cls.write_config(tiny_config(kind), f"{kind}.json") for kind in ("mha", "sas"))

    def test_a_kernels_figures_follow_from_its_work_its_time_and_the_ceilings(self):
        found = self.run_json("bench", "kernels", self.mha, self.sas, "--tokens", "64", *QUICK)
        self.assertIn("cpu", found["device"])
        ceilings = found["ceilings"]
        self.assertIn("measured", ceilings["tflop_per_s_from"])
        self.assertIn("measured", ceilings["gb_per_s_from"])
        ops = {line["op"] for line in found["kernels"]}
        self.assertLessEqual({"embedding_fwd", "matmul_bwd", "attention_fwd", "sas_bwd", "cross_entropy", "adamw",
                              "block_squares"}, ops)
        for line in found["kernels"]:
            with self.subTest(line["op"] + " " + line["shape"]):
                self.assertEqual((line["seq_len"], line["tokens"]), (32, 64))
                self.assertLessEqual(line["ms_min"], line["ms"])
                self.assertLessEqual(line["ms"], line["ms_max"])
                self.assertGreater(line["ms_min"], 0)
                self.assertGreaterEqual(line["launches_per_sample"], 1)
                self.assertGreater(line["rotated_bytes"], 0)
                floor = max(line["flops"] / ceilings["tflop_per_s"] / 1e9, line["bytes"] / ceilings["gb_per_s"] / 1e6)
                self.assertAlmostEqual(line["floor_ms"] / floor, 1)
                self.assertAlmostEqual(line["percent_of_floor"] / (100 * floor / line["ms"]), 1)
                self.assertAlmostEqual(line["gb_per_s"] * line["ms"] / (line["bytes"] / 1e6), 1)
                self.assertAlmostEqual(line["tflop_per_s"] * line["ms"], line["flops"] / 1e9)
                self.assertAlmostEqual(line["ns_per_token"] * 64 / (1e6 * line["ms"]), 1)

    def test_steps_are_the_sums_of_their_calls(self):
        found = self.run_json("bench", "kernels", self.mha, self.sas, "--tokens", "64", *QUICK)
        self.assertEqual([step["config"] for step in found["steps"]], [str(self.mha), str(self.sas)])
        for step in found["steps"]:
            total = sum(line["calls"][step["config"]] * line["ms"] for line in found["kernels"])
            self.assertAlmostEqual(step["sum_ms"] / total, 1)

    def test_operations_lengths_and_ceilings_can_be_chosen(self):
        found = self.run_json("bench", "kernels", self.sas, "--seq-len", "16,48", "--tokens", "96", "--only",
                              "attention_fwd,attention_bwd", "--peak-tflops", "2", "--peak-gb", "5", "--device", "cpu",
                              "--precision", "fp32", *QUICK)
        self.assertEqual([(line["op"], line["seq_len"], line["tokens"]) for line in found["kernels"]],
                         [(op, T, 96) for T in (16, 48) for op in ("attention_fwd", "attention_bwd")])
        self.assertEqual(found["ceilings"], {"tflop_per_s": 2.0, "tflop_per_s_from": "given", "gb_per_s": 5.0,
                                             "gb_per_s_from": "given"})

    def test_the_table_has_a_line_for_every_call(self):
        shown = self.run_ok("bench", "kernels", self.mha, self.sas, "--tokens", "64", *QUICK).out.splitlines()
        listed = self.run_json("bench", "kernels", self.mha, self.sas, "--tokens", "64", *QUICK)["kernels"]
        lines = [line for line in shown if line.endswith(tuple("0123456789")) and not line.startswith("sum")]
        self.assertEqual([line.split()[0] for line in lines], [line["op"] for line in listed])
        self.assertTrue(shown[-1].startswith("sum of calls"))


class Step(AppTest):
    def test_several_configs_are_timed_in_one_call(self):
        configs = [self.write_config(tiny_config(kind)) for kind in ("mha", "gqa")]
        found = self.run_json("bench", "step", *configs, "--steps", "3", "--warmup", "1")["runs"]
        self.assertEqual([run["kind"] for run in found], ["mha", "gqa"])
        for run, config in zip(found, configs):
            plan = self.run_json("plan", config)
            self.assertEqual(run["memory_bytes"], plan["arena_bytes"])
            self.assertEqual(run["flops_per_token"], plan["flops_per_token"])
            self.assertIn("measured", run["peak_from"])
            self.assertAlmostEqual(run["percent_of_peak"] / (100 * run["gflop_per_s"] / run["peak_gflop_per_s"]), 1)

    def test_a_given_peak_is_what_percent_is_of(self):
        step = self.run_json("bench", "step", self.write_config(tiny_config("mha")), "--steps", "1", "--warmup", "0",
                             "--set", "runtime.peak_tflops=0.5")
        self.assertEqual((step["peak_gflop_per_s"], step["peak_from"]), (500.0, "runtime.peak_tflops"))


@unittest.skipUnless(shutil.which("mpirun"), "no mpirun")
class Ranks(AppTest):
    def test_sums_over_ranks_are_timed_both_ways(self):
        arguments = ("bench", "ranks", "--ranks", "2", "--device", "cpu", "--mib", "1,2", "--samples", "3")
        found = self.run_json(*arguments)
        self.assertEqual(found["ranks"], 2)
        self.assertEqual([line["bytes"] for line in found["sums"]], [1 << 20, 2 << 20])
        for line in found["sums"]:
            for way in filter(None, (line["tree"], line["library"])):  # not all rooms have a library
                self.assertLess(0, way["ms_min"])
                self.assertLessEqual(way["ms_min"], way["ms"])
                self.assertLessEqual(way["ms"], way["ms_max"])
                self.assertAlmostEqual(way["gb_per_s"] * way["ms"] / (line["bytes"] / 1e6), 1)
        shown = self.run_ok(*arguments).out.splitlines()
        self.assertEqual([line.split()[0] for line in shown[-2:]], ["1.0", "2.0"])

    def test_one_rank_has_nobody_to_sum_with(self):
        done = saslm("bench", "ranks")
        self.assertEqual(done.code, USER)
        self.assertIn("wanted two ranks or more", done.err)


if __name__ == "__main__":
    harness.main()
