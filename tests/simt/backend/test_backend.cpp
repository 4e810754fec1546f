// The whole CUDA backend on the SIMT layer (matrix products by plain loops, memory by the host): golden
// models trained end to end, in fp32 as closely as on the CPU, and in bf16.
#include "tests/train/golden.h"

namespace saslm {
namespace {

// In bf16 a weight is rounded by up to 2^-9 of itself, anew after every update, and so is every activation on
// its way: a loss near log V keeps two and a half digits, a gradient's norm one and a half.
constexpr GoldenTolerance kFp32{.loss = 2e-4, .grad_norm = 2e-4, .grad_floor = 1e-6},
    kBf16{.loss = 5e-3, .grad_norm = 5e-2, .grad_floor = 0x1p-8};

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

std::string name_of_golden(const testing::TestParamInfo<std::string>& test) {
  return test.param;
}

// A model of every kind of attention and of every operation: what CI has time for.
// --gtest_also_run_disabled_tests runs them all.
INSTANTIATE_TEST_SUITE_P(Some, CudaBackend,
                         testing::Values("mha_learned", "gqa_sas", "mla_sas", "tpa_odd", "mhe_mul",
                                         "moh_authors"),
                         name_of_golden);
INSTANTIATE_TEST_SUITE_P(DISABLED_All, CudaBackend, testing::ValuesIn(golden_cases()), name_of_golden);

}  // namespace
}  // namespace saslm
