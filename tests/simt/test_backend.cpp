// The whole CUDA backend on the SIMT layer (matrix products by plain loops, memory by the host): golden
// models trained end to end, in fp32 as closely as on the CPU, and in bf16.
#include "tests/train/golden.h"

namespace saslm {
namespace {

// In bf16 a weight is rounded by up to 2^-9 of itself, anew after every update, and so is every activation on
// its way: a loss near log V keeps two and a half digits, a gradient's norm one and a half.
constexpr GoldenTolerance kFp32{.loss = 2e-4, .grad_norm = 2e-4}, kBf16{.loss = 5e-3, .grad_norm = 5e-2};

class CudaBackend : public testing::TestWithParam<std::string> {};

TEST_P(CudaBackend, TrainsInFp32AsTheGoldenNumbersSay) {
  const GoldenRun<float> run(GetParam(), cuda_ops<float>(), kFp32);
  run.expect_first_gradients();
  run.expect_every_step();
}

TEST_P(CudaBackend, TrainsInBf16NearTheGoldenNumbers) {
  const GoldenRun<bf16> run(GetParam(), cuda_ops<bf16>(), kBf16);
  run.expect_first_gradients();
  run.expect_every_step();
}

INSTANTIATE_TEST_SUITE_P(Golden, CudaBackend, testing::ValuesIn(golden_cases()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace saslm
