// The CPU backend against the golden numbers (golden.h).
#include "tests/train/golden.h"

namespace saslm {
namespace {

// Twelve fp32 steps against float64. Rounding errors of about 1e-7 a sum grow through the updates, where
// Adam's division by sqrt(v) passes on the relative error of the smallest gradients; 2e-4 is the promise.
constexpr GoldenTolerance kPromise{.loss = 2e-4, .grad_norm = 2e-4, .grad_floor = 1e-6};

class Golden : public testing::TestWithParam<std::string> {
 protected:
  const GoldenRun<float> run_{GetParam(), cpu_ops<float>(), kPromise};
};

TEST_P(Golden, FirstGradientOfEveryTensorAgrees) {
  run_.expect_first_gradients();
}

TEST_P(Golden, EveryStepAndEvaluationAgrees) {
  run_.expect_every_step();
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden, testing::ValuesIn(golden_cases()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace saslm
