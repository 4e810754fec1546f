#include <gtest/gtest.h>

#include <cmath>

#include "metrics/progress.h"

namespace saslm {
namespace {

TEST(Progress, CountsHaveThreeDigitsAndAUnit) {
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(1000), "1.00K");
  EXPECT_EQ(human_count(1234567), "1.23M");
  EXPECT_EQ(human_count(12345678), "12.3M");
  EXPECT_EQ(human_count(123456789), "123M");
  EXPECT_EQ(human_count(9996), "10.0K");
  EXPECT_EQ(human_count(999499), "999K");
  EXPECT_EQ(human_count(999500), "1.00M");
  EXPECT_EQ(human_count(-1500), "-1.50K");
}

TEST(Progress, BytesAreBinary) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.00 KiB");
  EXPECT_EQ(human_bytes(int64_t(4.5 * (1 << 30))), "4.50 GiB");
}

TEST(Progress, DurationsShowTheirTwoLargestUnits) {
  EXPECT_EQ(human_duration(0.4), "0s");
  EXPECT_EQ(human_duration(59.6), "1m00s");
  EXPECT_EQ(human_duration(125), "2m05s");
  EXPECT_EQ(human_duration(3725), "1h02m");
  EXPECT_EQ(human_duration(86400 * 3 + 3600 * 4), "3d04h");
  for (const double bad : {-1.0, std::nan(""), HUGE_VAL}) EXPECT_EQ(human_duration(bad), "?");
}

TEST(Progress, StepTimeIsUnbiasedFromTheFirstStepAndFollowsAChange) {
  StepTimer timer;
  EXPECT_FALSE(timer.seconds_for(10));
  timer.add(500);
  EXPECT_DOUBLE_EQ(*timer.seconds_for(10), 5);
  for (int i = 0; i < 500; ++i) timer.add(100);
  EXPECT_NEAR(*timer.seconds_for(10), 1, 0.01);  // 0.98^500 = 4e-5 of the old rate is left
}

Progress sample() {
  return {1200, 18865, 3.21449, 24.3099, 6e-4, 612345, 0.5124, 7620};
}

TEST(Progress, WideEnoughShowsEverything) {
  EXPECT_EQ(
      progress_line(sample(), 200),
      "step 1200/18865 | loss 3.2145 | val ppl 24.31 | lr 6.00e-04 | 612K tok/s | mfu 51.2% | eta 2h07m");
}

TEST(Progress, UnknownValuesAreLeftOut) {
  Progress p = sample();
  p.val_ppl = p.mfu = p.eta_s = std::nullopt;
  EXPECT_EQ(progress_line(p, 200), "step 1200/18865 | loss 3.2145 | lr 6.00e-04 | 612K tok/s");
}

TEST(Progress, FitsEveryWidthAndKeepsStepAndLossLongest) {
  for (int width = -1; width < 120; ++width) {
    EXPECT_LE(int(progress_line(sample(), width).size()), std::max(width, 0));
  }
  EXPECT_EQ(progress_line(sample(), 80),
            "step 1200/18865 | loss 3.2145 | val ppl 24.31 | 612K tok/s | eta 2h07m");
  EXPECT_EQ(progress_line(sample(), 30), "step 1200/18865 | loss 3.2145");
  EXPECT_EQ(progress_line(sample(), 20), "step 1200/18865");
  EXPECT_EQ(progress_line(sample(), 6), "step 1");
}

TEST(Progress, OfAnEvaluationSaysHowMuchIsDone) {
  EXPECT_EQ(evaluation_line("step 250", 0, 1024, {}), "step 250: evaluating 0/1024 sequences");
  EXPECT_EQ(evaluation_line("step 250", 320, 1024, 12.2),
            "step 250: evaluating 320/1024 sequences | 12s left");
}

}  // namespace
}  // namespace saslm
