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

constexpr int64_t kScheduleSteps = 10;

TEST(Schedule, WarmupIsLinearAndReachesThePeak) {
  for (const auto kind :
       {ScheduleKind::constant, ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::wsd}) {
    EXPECT_DOUBLE_EQ(learning_rate(optim(kind), kScheduleSteps, 0), 0.5);
    EXPECT_DOUBLE_EQ(learning_rate(optim(kind), kScheduleSteps, 1), 1.0);
  }
}

TEST(Schedule, CosineHalfWayIsTheMean) {
  EXPECT_DOUBLE_EQ(learning_rate(optim(ScheduleKind::cosine), kScheduleSteps, 5),
                   0.55);  // f = (5+1-2)/8 = 1/2
}

TEST(Schedule, LinearFallsEvenly) {
  EXPECT_DOUBLE_EQ(learning_rate(optim(ScheduleKind::linear), kScheduleSteps, 3), 0.775);  // f = 1/4
}

TEST(Schedule, WsdHoldsThenFallsOverTheLastSteps) {
  // n = round(0.25 * 10) = 3 (2.5 rounds away from zero): steps 7, 8, 9.
  EXPECT_DOUBLE_EQ(learning_rate(optim(ScheduleKind::wsd), kScheduleSteps, 6), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(optim(ScheduleKind::wsd), kScheduleSteps, 7), 0.7);
  EXPECT_DOUBLE_EQ(learning_rate(optim(ScheduleKind::wsd), kScheduleSteps, 8), 0.4);
}

TEST(Schedule, TheLastStepIsExactlyLow) {
  for (const auto kind : {ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::wsd})
    EXPECT_EQ(learning_rate(optim(kind), kScheduleSteps, kScheduleSteps - 1), 0.1);
  EXPECT_EQ(learning_rate(optim(ScheduleKind::constant), kScheduleSteps, kScheduleSteps - 1), 1.0);
}

TEST(Schedule, WithoutWarmupTheFirstStepIsInsideTheCurve) {
  OptimConfig o = optim(ScheduleKind::linear);
  o.schedule.warmup_steps = 0;
  EXPECT_DOUBLE_EQ(learning_rate(o, kScheduleSteps, 0), 0.91);
}

TEST(Schedule, AllStepsMayBeWarmup) {
  OptimConfig o = optim(ScheduleKind::cosine);
  o.schedule.warmup_steps = kScheduleSteps;
  EXPECT_DOUBLE_EQ(learning_rate(o, kScheduleSteps, kScheduleSteps - 1), 1.0);
}

}  // namespace
}  // namespace saslm
