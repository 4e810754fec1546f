// The words and cells that a comparison's reports share: what a person reads, apart from where it stands.
#pragma once
#include <string>
#include <vector>

#include "compare/results.h"

namespace saslm {

using TextRow = std::vector<std::string>;

// Rows of cells, the first being the head: variants and runs.
std::vector<TextRow> variant_rows(const CompareResults& results);
std::vector<TextRow> run_rows(const CompareResults& results);

std::string budget_line(const CompareResults& results);

// What has to be known beside the figures; apart from it, what depends on the clock.
std::vector<std::string> notes(const CompareResults& results);
std::vector<std::string> timing_notes(const CompareResults& results);
// Of one run, "" where there is nothing to say; `clock`: of its time alone.
std::string run_note(const CompareResults& results, size_t v, size_t s, bool clock);

// Text of any origin, as one line: UTF-8, without control characters, which would command a terminal.
std::string one_line(const std::string& text);
// The same within Markdown, where it stays text: no markup, no HTML, no further column.
std::string in_markdown(const std::string& text);

}  // namespace saslm
