#include <gtest/gtest.h>

#include "train/eval_schedule.h"

namespace saslm {
namespace {

TEST(EvalSchedule, CountsWhatIsDueFromAStepOn) {
  for (const int64_t steps : {1, 2, 7, 20, 21})
    for (const int64_t every : {0, 1, 2, 7, 50}) {
      const EvalSchedule schedule{.steps = steps, .every = every, .sequences = 3, .global_batch = 4};
      int64_t left = 0;
      for (int64_t step = steps; step >= 0; --step) {
        left += evaluation_due(schedule, step);
        EXPECT_EQ(schedule.evaluations_from(step), left) << steps << " " << every << " " << step;
      }
    }
}

TEST(EvalSchedule, WithoutDataThereIsNone) {
  const EvalSchedule schedule{.steps = 9, .every = 2, .sequences = 0, .global_batch = 4};
  EXPECT_EQ(schedule.evaluations_from(0), 0);
  EXPECT_EQ(schedule.share(), 0);
  EXPECT_FALSE(evaluation_due(schedule, 0));
}

TEST(EvalSchedule, ForwardIsAThirdOfTraining) {
  const EvalSchedule schedule{.steps = 10, .every = 0, .sequences = 60, .global_batch = 4};
  EXPECT_DOUBLE_EQ(schedule.cost(), 5);          // as many steps as one evaluation takes
  EXPECT_DOUBLE_EQ(schedule.share(), 10. / 20);  // two of them beside ten steps
}

}  // namespace
}  // namespace saslm
