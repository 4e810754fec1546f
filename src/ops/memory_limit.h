// What Linux's control groups, of version 1 or 2, leave this process of its machine's memory.
//
// Sources: cgroups(7); the kernel's admin-guide/cgroup-v2 (memory.max) and cgroup-v1/memory
// (memory.limit_in_bytes).
#pragma once
#include <cstdint>
#include <string>

namespace saslm {

// The lesser of two limits, of which 0 is none.
inline int64_t tighter(int64_t a, int64_t b) {
  return a == 0 || (b != 0 && b < a) ? b : a;
}

// The least limit of the groups that hold this process (ops/control_groups.h); 0 where there is none.
//
// What the group already uses is not taken off. The kernel counts the files it has read and written among
// that, which give way when memory is asked for: after some copying hardly anything would seem to be left.
int64_t group_memory_limit(const std::string& proc = "/proc", const std::string& sys = "/sys");

}  // namespace saslm
