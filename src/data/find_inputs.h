// What the user named as inputs -> the files to read, in order.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace saslm {

// Each name is a file or a pipe, "-" (standard input), a folder, or a pattern (core/glob_pattern.h). A folder
// stands for the files of text below it by name: .txt, .jsonl and .ndjson, also with .gz, .zst or .xz after
// that, and .parquet, sorted bytewise by path; names that begin with a dot and links to folders are left out.
// `note` is told what was found in a folder and what was left out. DataError: nothing named, nothing there, a
// folder without text, a file given twice, be it through a link.
std::vector<std::string> find_inputs(const std::vector<std::string>& named,
                                     const std::function<void(const std::string&)>& note);

}  // namespace saslm
