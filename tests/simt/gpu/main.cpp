// The main function of tests that need a GPU.
#include <gtest/gtest.h>

#include <cstdio>

#include "ops/ops.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  GTEST_FLAG_SET(also_run_disabled_tests, true);  // what the SIMT layer takes too long for
  const auto found = saslm::find_gpu();
  if (const auto* const why = std::get_if<std::string>(&found)) {
    std::printf("SKIPPED: no GPU: %s\n", why->c_str());
    return 0;
  }
  const auto& gpu = std::get<saslm::Gpu>(found);
  std::printf("%s, sm_%d\n", gpu.name.c_str(), gpu.capability);
  return RUN_ALL_TESTS();
}
