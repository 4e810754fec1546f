// What the fuzzers start from and what they found, in every test run.
#include <gtest/gtest.h>

#include <filesystem>

#include "fuzz/target.h"

namespace saslm::fuzz {
namespace {

class Parser : public testing::TestWithParam<const Target*> {};

TEST_P(Parser, AcceptsItsSeeds) {
  size_t n = 0;
  for (const std::string& seed : GetParam()->seeds()) EXPECT_TRUE(GetParam()->run(seed)) << "seed " << n++;
}

TEST_P(Parser, KeepsItsPromisesOnSeedsCutShort) {
  for (const std::string& seed : GetParam()->seeds()) {
    const size_t stride = 1 + seed.size() / 64;
    for (size_t n = 0; n < seed.size(); n += stride)
      ASSERT_NO_THROW(GetParam()->run(std::string_view(seed).substr(0, n))) << n << " bytes of\n" << seed;
  }
}

TEST_P(Parser, KeepsItsPromisesOnWhatWasFoundBefore) {
  const std::string folder = std::string(SASLM_FOUND_DIR) + "/" + GetParam()->name;
  for (const std::string& name : list_dir(folder))
    EXPECT_NO_THROW(GetParam()->run(read_file(folder + "/" + name))) << folder << "/" << name;
}

INSTANTIATE_TEST_SUITE_P(Fuzz, Parser, testing::ValuesIn(all_targets().begin(), all_targets().end()),
                         [](const auto& parameter) { return std::string(parameter.param->name); });

}  // namespace
}  // namespace saslm::fuzz
