#include <gtest/gtest.h>
#include <sched.h>

#include <fstream>
#include <map>

#include "ops/cpu_limit.h"
#include "own_folder.h"

namespace saslm {
namespace {

using Files = std::map<std::string, std::string>;  // under sys/fs/cgroup

int limit_of(const std::string& own_groups, const Files& files) {
  const test::OwnFolder folder;
  const auto write = [&](const std::filesystem::path& path, const std::string& text) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  };
  write(folder / "proc/self/cgroup", own_groups);
  for (const auto& [path, text] : files) write(folder / ("sys/fs/cgroup/" + path), text + "\n");
  return group_cpu_limit(folder / "proc", folder / "sys");
}

TEST(GroupCpuLimit, IsTheQuotaRoundedUp) {
  EXPECT_EQ(limit_of("0::/job\n", {{"job/cpu.max", "200000 100000"}}), 2);
  EXPECT_EQ(limit_of("0::/job\n", {{"job/cpu.max", "150000 100000"}}), 2);
  EXPECT_EQ(limit_of("0::/job\n", {{"job/cpu.max", "10000 100000"}}), 1);
  EXPECT_EQ(limit_of("0::/job\n", {{"job/cpu.max", "25000 10000"}}), 3);
}

TEST(GroupCpuLimit, IsTheLeastOnTheWayUp) {
  EXPECT_EQ(limit_of("0::/a/b\n", {{"a/b/cpu.max", "max 100000"}, {"a/cpu.max", "300000 100000"}}), 3);
  EXPECT_EQ(limit_of("0::/a/b\n", {{"a/b/cpu.max", "200000 100000"}, {"a/cpu.max", "300000 100000"}}), 2);
  EXPECT_EQ(limit_of("0::/docker/0a1b\n", {{"cpu.max", "400000 100000"}}), 4);
}

TEST(GroupCpuLimit, FollowsVersionOneAlsoBesideVersionTwo) {
  const std::string groups = "9:name=systemd:/\n4:cpu,cpuacct:/job\n3:cpuset:/other\n0::/two\n";
  const Files job = {{"cpu/job/cpu.cfs_quota_us", "400000"}, {"cpu/job/cpu.cfs_period_us", "100000"},
                     {"cpu/cpu.cfs_quota_us", "-1"},         {"cpu/cpu.cfs_period_us", "100000"},
                     {"cpu/other/cpu.cfs_quota_us", "1"},    {"cpu/other/cpu.cfs_period_us", "1"}};
  EXPECT_EQ(limit_of(groups, job), 4);
  Files both = job;
  both["two/cpu.max"] = "100000 100000";
  EXPECT_EQ(limit_of(groups, both), 1);
}

TEST(GroupCpuLimit, IsZeroWhereNothingLimits) {
  EXPECT_EQ(limit_of("0::/job\n", {{"job/cpu.max", "max 100000"}}), 0);
  EXPECT_EQ(limit_of("0::/job\n", {{"job/cpu.max", "nonsense"}}), 0);
  EXPECT_EQ(limit_of("0::/job\n", {{"job/cpu.max", "0 100000"}}), 0);
  EXPECT_EQ(limit_of("0::/job\n", {}), 0);
  EXPECT_EQ(limit_of("", {}), 0);
}

TEST(UsableCpus, AreAtMostThoseOfTheMachineAndOneAtLeast) {
  EXPECT_GE(usable_cpus(), 1);
  cpu_set_t placed;
  ASSERT_EQ(sched_getaffinity(0, sizeof placed, &placed), 0);
  EXPECT_LE(usable_cpus(), CPU_COUNT(&placed));
}

}  // namespace
}  // namespace saslm
