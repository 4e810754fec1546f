#include "executed.h"

#include "machine.h"

namespace ptx {

void count_conflicts() {
  options().conflicts = true;
}

Executed executed() {
  Executed all;
  for (const char* name : class_names) all.classes[name] = 0;
  for (const auto& [name, kernel] : profiles()) {
    all.launches += kernel.launches;
    all.blocks += kernel.blocks;
    all.instructions += kernel.total;
    all.conflicts += kernel.conflicts;
    all.sectors += kernel.sectors;
    for (int c = 0; c < cClasses; ++c) all.classes[class_names[c]] += kernel.counts[c];
  }
  return all;
}

}  // namespace ptx
