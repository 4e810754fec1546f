// Shell completion. The shells' scripts (completions/saslm.bash and so on) call `saslm __complete WORD...`
// with the words after the program's name; the last is the one to complete.
//
// Each output line is a word, a tab and a description. A word that ends in '=' continues without a space. A
// line ":files" or ":folders" tells the shell to complete file or folder names.
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
