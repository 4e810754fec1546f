// The executions a kernel is held to: every order, with asynchronous copies late and early.
#pragma once
#include <string>
#include <vector>

#include "kernels/simt/cpu_launch.h"

namespace saslm::simt {

std::vector<LaunchOptions> all_schedules(int random_seeds = 2);
std::string describe(const LaunchOptions&);

// Which of the three builds this is.
enum class Build { plain, asan, race };
Build this_build();

}  // namespace saslm::simt
