// Names reach what is loaded as a profiler, in their order; a process without one is none the wiser.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "core/file.h"
#include "kernels/cuda/runtime/queue.h"
#include "tests/own_folder.h"

namespace saslm {
namespace {

// NVTX looks for the library at a process's first range, so this test is a process of its own.
TEST(CudaRangesDeathTest, AreToldToAProfiler) {
#if __has_include(<nvtx3/nvToolsExt.h>)
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const test::OwnFolder folder;
  const std::string told = folder / "told.txt";
  EXPECT_EXIT(
      {
        setenv("NVTX_INJECTION64_PATH", SASLM_NVTX_LISTENER, 1);
        setenv("SASLM_NVTX_FILE", told.c_str(), 1);
        cuda::begin_range("attention");
        cuda::begin_range("sas");
        cuda::end_range();
        cuda::end_range();
        std::exit(read_file(told) == "+ attention\n+ sas\n-\n-\n" ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
#else
  GTEST_SKIP() << "SKIPPED: this toolkit has no nvtx3/nvToolsExt.h";
#endif
}

TEST(CudaRanges, WithoutAProfilerAreNothing) {
  cuda::begin_range("attention");
  cuda::end_range();
}

}  // namespace
}  // namespace saslm
