#include "ops/cpu_limit.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "ops/control_groups.h"

namespace saslm {
namespace {

double least(double a, double b) {  // of two limits, of which 0 is none
  return a == 0 || (b != 0 && b < a) ? b : a;
}

// "200000 100000": microseconds of every so many; "max 100000".
double quota_of_2(const std::string& folder) {
  double quota = 0, period = 0;
  return std::ifstream(folder + "/cpu.max") >> quota >> period && quota > 0 && period > 0 ? quota / period
                                                                                          : 0;
}

// The first file says -1 where there is none.
double quota_of_1(const std::string& folder) {
  double quota = 0, period = 0;
  return std::ifstream(folder + "/cpu.cfs_quota_us") >> quota &&
                 std::ifstream(folder + "/cpu.cfs_period_us") >> period && quota > 0 && period > 0
             ? quota / period
             : 0;
}

}  // namespace

int group_cpu_limit(const std::string& proc, const std::string& sys) {
  double all = 0;
  for (const auto& [folder, version] : control_groups("cpu", proc, sys))
    all = least(all, version == 2 ? quota_of_2(folder) : quota_of_1(folder));
  return int(std::ceil(std::min(all, 1e6)));
}

int usable_cpus() {
  const int placed = std::max(1, omp_get_num_procs()), quota = group_cpu_limit();
  return quota == 0 ? placed : std::min(placed, quota);
}

}  // namespace saslm
