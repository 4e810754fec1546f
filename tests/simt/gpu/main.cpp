// The main function of tests that need a GPU.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <variant>
#include <vector>

#include "ops/ops.h"

int main(int argc, char** argv) {
  char all[] = "--gtest_also_run_disabled_tests";  // those that the SIMT layer takes too long for
  std::vector<char*> args(argv, argv + argc);
  args.insert(args.begin() + 1, all);
  int count = int(args.size());
  args.push_back(nullptr);
  testing::InitGoogleTest(&count, args.data());
  const auto found = saslm::find_gpu();
  if (const auto* const why = std::get_if<std::string>(&found)) {
    std::printf("SKIPPED: no GPU: %s\n", why->c_str());
    return 0;
  }
  const auto& gpu = std::get<saslm::Gpu>(found);
  std::printf("%s, sm_%d\n", gpu.name.c_str(), gpu.capability);
  return RUN_ALL_TESTS();
}
