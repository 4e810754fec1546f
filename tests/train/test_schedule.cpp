#include <gtest/gtest.h>

#include "train/schedule.h"

namespace saslm {
namespace {

OptimConfig optim(ScheduleKind kind) {
  OptimConfig o;
  o.lr = 1;
  o.schedule = {.kind = kind, .warmup_steps = 2, .min_lr_ratio = 0.1, .decay_fraction = 0.25};
  return o;
}

constexpr int64_t kSteps = 10;

TEST(Schedule, WarmupIsLinearAndReachesThePeak) {
  for (const auto kind :
       {ScheduleKind::constant, ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::wsd}) {
    EXPECT_DOUBLE_EQ(learning_rate(optim(kind), kSteps, 0), 0.5);
    EXPECT_DOUBLE_EQ(learning_rate(optim(kind), kSteps, 1), 1.0);
  }
}

TEST(Schedule, CosineHalfWayIsTheMean) {
  EXPECT_DOUBLE_EQ(learning_rate(optim(ScheduleKind::cosine), kSteps, 5), 0.55);  // f = (5+1-2)/8 = 1/2
}

TEST(Schedule, LinearFallsEvenly) {
  EXPECT_DOUBLE_EQ(learning_rate(optim(ScheduleKind::linear), kSteps, 3), 0.775);  // f = 1/4
}

TEST(Schedule, WsdHoldsThenFallsOverTheLastSteps) {
  // n = round(0.25 * 10) = 3 (2.5 rounds away from zero): steps 7, 8, 9.
  EXPECT_DOUBLE_EQ(learning_rate(optim(ScheduleKind::wsd), kSteps, 6), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(optim(ScheduleKind::wsd), kSteps, 7), 0.7);
  EXPECT_DOUBLE_EQ(learning_rate(optim(ScheduleKind::wsd), kSteps, 8), 0.4);
}

TEST(Schedule, TheLastStepIsExactlyLow) {
  for (const auto kind : {ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::wsd})
    EXPECT_EQ(learning_rate(optim(kind), kSteps, kSteps - 1), 0.1);
  EXPECT_EQ(learning_rate(optim(ScheduleKind::constant), kSteps, kSteps - 1), 1.0);
}

TEST(Schedule, WithoutWarmupTheFirstStepIsInsideTheCurve) {
  OptimConfig o = optim(ScheduleKind::linear);
  o.schedule.warmup_steps = 0;
  EXPECT_DOUBLE_EQ(learning_rate(o, kSteps, 0), 0.91);
}

TEST(Schedule, AllStepsMayBeWarmup) {
  OptimConfig o = optim(ScheduleKind::cosine);
  o.schedule.warmup_steps = kSteps;
  EXPECT_DOUBLE_EQ(learning_rate(o, kSteps, kSteps - 1), 1.0);
}

}  // namespace
}  // namespace saslm
