// Results as files and text. What comes from a clock has places of its own, so that all else is the same
// bytes whenever the same comparison ends: "timing" objects in JSON, the last columns in CSV.
#pragma once
#include <string>

#include "train/compare_results.h"

namespace saslm {

std::string results_json(const CompareResults& results);
std::string results_csv(const CompareResults& results);       // a line per run
std::string results_markdown(const CompareResults& results);  // table, sentences, notes, runs
std::string results_text(const CompareResults& results);      // table, sentences, notes for a terminal

// DIR/results.{json,csv,md}, each replaced atomically.
void write_results(const CompareResults& results, const std::string& dir);

}  // namespace saslm
