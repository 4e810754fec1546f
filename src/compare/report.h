// Results as files and text. Everything that depends on time is separate ("timing" objects in JSON, the last
// columns in CSV), so the rest is byte-identical whenever the same comparison is repeated.
#pragma once
#include <string>

#include "compare/results.h"

namespace saslm {

std::string results_json(const CompareResults& results);
std::string results_csv(const CompareResults& results);       // one line per run
std::string results_markdown(const CompareResults& results);  // table, sentences, notes, runs
std::string results_text(const CompareResults& results);      // table, sentences, notes for a terminal

// Data for plots: {"variants": [{"name", "step_s", "runs": [{"evals", "training", "difference": {"tokens",
// "flops", "seconds"}}]}]}, runs by seed, curves as lists of [x, y]; x is steps, or the amount of the budget
// for a difference from the baseline.
std::string curves_json(const CompareResults& results);

// DIR/results.{json,csv,md}, each replaced atomically.
void write_results(const CompareResults& results, const std::string& dir);
// DIR/plots/curves.json, likewise.
void write_curves(const CompareResults& results, const std::string& dir);

}  // namespace saslm
