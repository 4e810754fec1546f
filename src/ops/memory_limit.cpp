#include "ops/memory_limit.h"

#include <fstream>

#include "ops/control_groups.h"

namespace saslm {
namespace {

constexpr int64_t kNone =
    int64_t(1) << 62;  // version 1 writes 2^63 less a page, or 64 KiB, where there is none

}  // namespace

int64_t group_memory_limit(const std::string& proc, const std::string& sys) {
  int64_t least = 0;
  for (const auto& [folder, version] : control_groups("memory", proc, sys)) {
    int64_t limit = 0;  // "max" does not parse
    const std::string file = folder + (version == 2 ? "/memory.max" : "/memory.limit_in_bytes");
    if (std::ifstream(file) >> limit && limit > 0 && limit < kNone) least = tighter(least, limit);
  }
  return least;
}

}  // namespace saslm
