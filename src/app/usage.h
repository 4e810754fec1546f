// The error message for a wrong command line, with a suggestion.
#pragma once
#include <string>
#include <vector>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace saslm {

struct UsageProblem {
  std::string message,
      where_help_is;  // "train has no option --rundir; did you mean --run-dir?", "saslm train --help"
};

// `arguments`: the words after the program's name that `app` could not parse because of `error`.
UsageProblem usage_problem(const CLI::App& app, const CLI::ParseError& error,
                           const std::vector<std::string>& arguments);

}  // namespace saslm
