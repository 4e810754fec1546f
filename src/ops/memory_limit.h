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

// The least limit of the group that PROC/self/cgroup names and of all groups that it is in, as they are
// mounted under SYS/fs/cgroup; 0 where there is none. A container may see no group but its own, mounted as
// the root, under a path that it cannot see: the root counts in any case.
//
// What the group already uses is not taken off. The kernel counts the files it has read and written among
// that, which give way when memory is asked for: after some copying hardly anything would seem to be left.
int64_t group_memory_limit(const std::string& proc = "/proc", const std::string& sys = "/sys");

}  // namespace saslm
