#include "ptx/machine/program/mutant.h"

namespace ptx {

Changed mutate(std::string& text, const Mutant& mutant) {
  Changed c;
  for (size_t at = text.find(mutant.from); at != std::string::npos; ++c.places) {
    if (mutant.nth.value_or(c.places) == c.places) {
      text.replace(at, mutant.from.size(), mutant.to);
      at = text.find(mutant.from, at + mutant.to.size());
      ++c.changed;
    } else {
      at = text.find(mutant.from, at + mutant.from.size());
    }
  }
  return c;
}

}  // namespace ptx
