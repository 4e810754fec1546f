// The files to read, in order, from the user's list of inputs.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace saslm {

// Each name is a file or a pipe, "-" (standard input), a folder, or a pattern (core/glob_pattern.h). A folder
// stands for the text files below it: .txt, .jsonl and .ndjson, also with .gz, .zst or .xz appended, and
// .parquet, sorted bytewise by path; names that start with a dot and links to folders are skipped. `note` is
// called with what was found in a folder and what was skipped. DataError: no input, nothing found, a folder
// without text, a file given twice (also through a link).
std::vector<std::string> find_inputs(const std::vector<std::string>& named,
                                     const std::function<void(const std::string&)>& note);

}  // namespace saslm
