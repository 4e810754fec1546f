// What Linux's control groups, of version 1 or 2, leave this process of its machine's CPUs: a container that
// may use two sees all of them, and is halted for the rest of every period when it has used up its time.
//
// Sources: cgroups(7); the kernel's admin-guide/cgroup-v2 (cpu.max) and scheduler/sched-bwc
// (cpu.cfs_quota_us).
#pragma once
#include <string>

namespace saslm {

// How many CPUs' time the least quota of the groups that hold this process (ops/control_groups.h) gives,
// rounded up; 0 where there is none.
int group_cpu_limit(const std::string& proc = "/proc", const std::string& sys = "/sys");

// How many threads of this process can run at the same time: the CPUs it may be placed on, and that limit.
int usable_cpus();

}  // namespace saslm
