// Texts and table cells that all reports of a comparison share.
#pragma once
#include <string>
#include <vector>

#include "compare/results.h"

namespace saslm {

using TextRow = std::vector<std::string>;

// Rows of cells, the header first: variants and runs.
std::vector<TextRow> variant_rows(const CompareResults& results);
std::vector<TextRow> run_rows(const CompareResults& results);

std::string budget_line(const CompareResults& results);

// Notes about the figures; those that depend on time are separate.
std::vector<std::string> notes(const CompareResults& results);
std::vector<std::string> timing_notes(const CompareResults& results);
// Note about one run, or ""; `clock`: only about its timing.
std::string run_note(const CompareResults& results, size_t v, size_t s, bool clock);

// Any text as one line of UTF-8 without control characters.
std::string one_line(const std::string& text);
// The same, escaped for Markdown: no markup, no HTML, no column separators.
std::string in_markdown(const std::string& text);

}  // namespace saslm
