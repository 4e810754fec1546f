// Which of Linux's control groups, of version 1 or 2, hold this process.
//
// Sources: cgroups(7); the kernel's admin-guide/cgroup-v2.
#pragma once
#include <string>
#include <vector>

namespace saslm {

struct ControlGroup {
  std::string folder;  // where its limits are read
  int version;         // 1 or 2
};

// The groups that PROC/self/cgroup names for `controller` ("cpu", "memory") and all groups that these are in,
// as they are mounted under SYS/fs/cgroup; a folder may not be there. A container may see no group but its
// own, mounted as the root, under a path that it cannot see: the root counts in any case.
std::vector<ControlGroup> control_groups(const std::string& controller, const std::string& proc,
                                         const std::string& sys);

}  // namespace saslm
