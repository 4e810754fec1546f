// What may stand next on a command line, for the shells' completion (completions/saslm.bash and so on), which
// call `saslm __complete WORD...` with the words after the program's name, the last being the one that is
// completed.
//
// One line for each: the word, and after a tab what it is. A word that ends in '=' goes on. A line ":files"
// or ":folders" asks the shell for its own names of those.
#pragma once
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace saslm {

inline constexpr const char* kComplete = "__complete";

std::vector<std::string> completions(const CLI::App& app, const std::vector<std::string>& words);

}  // namespace saslm
