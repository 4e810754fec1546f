#include "ops/memory_limit.h"

#include <fstream>

namespace saslm {
namespace {

constexpr int64_t kNone =
    int64_t(1) << 62;  // version 1 writes 2^63 less a page, or 64 KiB, where there is none

// `group` is "/a/b": in its folder under `root`, in that of /a, in the root.
int64_t least_upwards(const std::string& root, std::string group, const char* file) {
  for (int64_t least = 0;;) {
    int64_t limit = 0;  // "max" does not parse
    if (std::ifstream(root + group + "/" + file) >> limit && limit > 0 && limit < kNone)
      least = tighter(least, limit);
    if (group.empty()) return least;
    const size_t parent = group.rfind('/');
    group.resize(parent == std::string::npos ? 0 : parent);
  }
}

}  // namespace

int64_t group_memory_limit(const std::string& proc, const std::string& sys) {
  const std::string root = sys + "/fs/cgroup";
  std::ifstream groups(proc + "/self/cgroup");  // lines as "0::/a/b", and in version 1 "4:cpu,memory:/a/b"
  int64_t least = 0;
  for (std::string number, controllers, group; std::getline(groups, number, ':') &&
                                               std::getline(groups, controllers, ':') &&
                                               std::getline(groups, group);) {
    if (controllers.empty())
      least = tighter(least, least_upwards(root, group, "memory.max"));
    else if (("," + controllers + ",").find(",memory,") != std::string::npos)
      least = tighter(least, least_upwards(root + "/memory", group, "memory.limit_in_bytes"));
  }
  return least;
}

}  // namespace saslm
