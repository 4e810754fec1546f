#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "ops/memory_limit.h"
#include "ops/ops.h"
#include "own_folder.h"

namespace saslm {
namespace {

using Files = std::map<std::string, std::string>;  // under sys/fs/cgroup
constexpr const char* kNone1 = "9223372036854771712";
constexpr const char* kNone1Of64KiB = "9223372036854710272";

int64_t memory_limit_of(const std::string& own_groups, const Files& files) {
  const test::OwnFolder folder;
  const auto write = [&](const std::filesystem::path& path, const std::string& text) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  };
  write(folder / "proc/self/cgroup", own_groups);
  for (const auto& [path, text] : files) write(folder / ("sys/fs/cgroup/" + path), text + "\n");
  return group_memory_limit(folder / "proc", folder / "sys");
}

TEST(GroupMemoryLimit, IsTheGroupsOwn) {
  EXPECT_EQ(memory_limit_of("0::/job/step\n", {{"job/step/memory.max", "4096"}, {"other/memory.max", "1"}}),
            4096);
}

TEST(GroupMemoryLimit, IsTheLeastOnTheWayUp) {
  EXPECT_EQ(memory_limit_of("0::/job/step\n", {{"job/step/memory.max", "max"}, {"job/memory.max", "4096"}}),
            4096);
  EXPECT_EQ(memory_limit_of("0::/job/step\n", {{"job/step/memory.max", "8192"}, {"job/memory.max", "4096"}}),
            4096);
  EXPECT_EQ(memory_limit_of("0::/job/step\n", {{"job/step/memory.max", "4096"}, {"memory.max", "8192"}}),
            4096);
  EXPECT_EQ(memory_limit_of("0::/job/step\n", {{"job/step/memory.max", "8192"}, {"memory.max", "4096"}}),
            4096);
}

TEST(GroupMemoryLimit, OfAContainerThatCannotSeeItsPathIsTheRoots) {
  EXPECT_EQ(memory_limit_of("0::/docker/0a1b\n", {{"memory.max", "4096"}}), 4096);
  EXPECT_EQ(memory_limit_of("0::/../../other\n", {{"memory.max", "4096"}}), 4096);
  EXPECT_EQ(memory_limit_of("4:memory:/docker/0a1b\n", {{"memory/memory.limit_in_bytes", "4096"}}), 4096);
  EXPECT_EQ(memory_limit_of("0::/\n", {{"memory.max", "4096"}}), 4096);
}

TEST(GroupMemoryLimit, FollowsVersionOneAlsoBesideVersionTwo) {
  const std::string groups =
      "9:name=systemd:/\n4:cpu,memory:/job/step\n3:memory_not:/other\n2:cpuset:/other\n0::/two\n";
  const Files step = {{"memory/job/step/memory.limit_in_bytes", "8192"},
                      {"memory/job/memory.limit_in_bytes", kNone1},
                      {"memory/other/memory.limit_in_bytes", "1"},
                      {"job/step/memory.max", "1"}};
  EXPECT_EQ(memory_limit_of(groups, step), 8192);
  Files both = step;
  both["two/memory.max"] = "4096";
  EXPECT_EQ(memory_limit_of(groups, both), 4096);
}

TEST(GroupMemoryLimit, IsZeroWhereNothingLimits) {
  EXPECT_EQ(memory_limit_of("0::/job\n", {{"job/memory.max", "max"}}), 0);
  EXPECT_EQ(memory_limit_of("0::/job\n", {}), 0);
  EXPECT_EQ(memory_limit_of("", {{"memory.max", "4096"}}), 0);
  for (const char* none : {kNone1, kNone1Of64KiB, "18446744073709551615"})
    EXPECT_EQ(memory_limit_of("4:memory:/\n", {{"memory/memory.limit_in_bytes", none}}), 0) << none;
  EXPECT_EQ(group_memory_limit("/nowhere", "/nowhere"), 0);
}

TEST(AvailableBytes, AreDividedAmongRanksThatShareTheHostsMemory) {
  const auto available = cpu_ops<float>().available_bytes;
  const double one = double(available(1)), eight = double(available(8));
  ASSERT_GT(one, 0);
  EXPECT_NEAR(eight, one / 8, one / 16);  // others take and give memory meanwhile
}

}  // namespace
}  // namespace saslm
