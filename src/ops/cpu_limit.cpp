#include "ops/cpu_limit.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <fstream>

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

double quota_of_1(const std::string& folder) {  // -1 where there is none
  double quota = 0, period = 0;
  return std::ifstream(folder + "/cpu.cfs_quota_us") >> quota &&
                 std::ifstream(folder + "/cpu.cfs_period_us") >> period && quota > 0 && period > 0
             ? quota / period
             : 0;
}

// `group` is "/a/b": in its folder under `root`, in that of /a, in the root.
double least_upwards(const std::string& root, std::string group, double (*quota)(const std::string&)) {
  for (double all = 0;;) {
    all = least(all, quota(root + group));
    if (group.empty()) return all;
    const size_t parent = group.rfind('/');
    group.resize(parent == std::string::npos ? 0 : parent);
  }
}

}  // namespace

int group_cpu_limit(const std::string& proc, const std::string& sys) {
  const std::string root = sys + "/fs/cgroup";
  std::ifstream groups(proc + "/self/cgroup");  // lines as "0::/a/b", and in version 1 "4:cpu,cpuacct:/a/b"
  double all = 0;
  for (std::string number, controllers, group; std::getline(groups, number, ':') &&
                                               std::getline(groups, controllers, ':') &&
                                               std::getline(groups, group);) {
    if (controllers.empty())
      all = least(all, least_upwards(root, group, quota_of_2));
    else if (("," + controllers + ",").find(",cpu,") != std::string::npos)
      all = least(all, least_upwards(root + "/cpu", group, quota_of_1));
  }
  return int(std::ceil(std::min(all, 1e6)));
}

int usable_cpus() {
  const int placed = std::max(1, omp_get_num_procs()), quota = group_cpu_limit();
  return quota == 0 ? placed : std::min(placed, quota);
}

}  // namespace saslm
