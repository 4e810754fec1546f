#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/glob_pattern.h"
#include "tests/own_folder.h"

namespace saslm {
namespace {

using test::OwnFolder;

void touch(const std::string& path) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream file(path);
}

TEST(GlobPattern, AFolderBeforeAPatternMatchesItselfAlone) {
  for (const std::string name : {"exp [v2]", "run*", "a?", "a\\b", "[", "plain"}) {
    OwnFolder dir;
    touch(dir / (name + "/train_1.bin"));
    touch(dir / (name + "/train_0.bin"));
    for (const char* neighbour : {"run1", "ab", "exp v", "a*b"})
      touch(dir / (std::string(neighbour) + "/train_9.bin"));
    const std::vector<std::string> wanted = {dir / (name + "/train_0.bin"), dir / (name + "/train_1.bin")};
    EXPECT_EQ(paths_matching(pattern_of(dir / name) + "/train_*.bin"), wanted) << name;
  }
}

TEST(GlobPattern, WhatIsThereUnderTheNameItselfIsTaken) {
  OwnFolder dir;
  for (const char* name : {"x [1]/a[1].bin", "x 1/a1.bin", "x 1/a[1].bin"}) touch(dir / name);
  EXPECT_EQ(paths_matching(dir / "x [1]/a[1].bin"), std::vector{dir / "x [1]/a[1].bin"});
  EXPECT_EQ(paths_matching(pattern_of(dir / "x [1]") + "/a[1].bin"), std::vector{dir / "x [1]/a[1].bin"});
  EXPECT_EQ(paths_matching(dir / "none*"), std::vector<std::string>());
  EXPECT_EQ(paths_matching(dir / "none"), std::vector<std::string>());
}

TEST(GlobPattern, OrdinaryPathsStayAsTheyAre) {
  EXPECT_EQ(pattern_of("/data/my run-1.2/x"), "/data/my run-1.2/x");
  EXPECT_FALSE(is_pattern("/data/x"));
  EXPECT_TRUE(is_pattern("/data/*"));
}

}  // namespace
}  // namespace saslm
