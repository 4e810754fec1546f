#include "ops/control_groups.h"

#include <fstream>

namespace saslm {
namespace {

// `group` is "/a/b": its folder under `root`, that of /a, the root.
void add_upwards(std::vector<ControlGroup>& groups, const std::string& root, std::string group, int version) {
  for (;;) {
    groups.push_back({root + group, version});
    if (group.empty()) return;
    const size_t parent = group.rfind('/');
    group.resize(parent == std::string::npos ? 0 : parent);
  }
}

}  // namespace

std::vector<ControlGroup> control_groups(const std::string& controller, const std::string& proc,
                                         const std::string& sys) {
  const std::string root = sys + "/fs/cgroup";
  std::ifstream lines(proc + "/self/cgroup");  // as "0::/a/b", and in version 1 "4:cpu,cpuacct:/a/b"
  std::vector<ControlGroup> found;
  for (std::string number, controllers, group; std::getline(lines, number, ':') &&
                                               std::getline(lines, controllers, ':') &&
                                               std::getline(lines, group);) {
    if (controllers.empty())
      add_upwards(found, root, group, 2);
    else if (("," + controllers + ",").find("," + controller + ",") != std::string::npos)
      add_upwards(found, root + "/" + controller, group, 1);
  }
  return found;
}

}  // namespace saslm
