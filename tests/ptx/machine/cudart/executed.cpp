#include "ptx/machine/executed.h"

#include "ptx/machine/cudart/device.h"

namespace ptx {

void count_conflicts() {
  device().machine.settings.conflicts = true;
}

Executed executed() {
  Executed all;
  for (size_t c = 0; c < size_t(Class::count); ++c) all.classes[class_name(Class(c))] = 0;
  for (const auto& [name, p] : device().machine.profiles) {
    all.launches += p.launches;
    all.blocks += p.blocks;
    all.instructions += p.total;
    all.conflicts += p.conflicts;
    all.sectors += p.sectors;
    for (size_t c = 0; c < size_t(Class::count); ++c) all.classes[class_name(Class(c))] += p.counts[c];
  }
  return all;
}

}  // namespace ptx
