// Changes in a module's text: a mutant, to see that a test notices.
#pragma once
#include <optional>
#include <string>

namespace ptx {

struct Mutant {
  std::string from, to;
  std::optional<int> nth;  // which occurrence in a module, from 0; all where there is none
};

// How many places there were, and how many were changed.
struct Changed {
  int places = 0, changed = 0;
};
Changed mutate(std::string& text, const Mutant& mutant);

}  // namespace ptx
