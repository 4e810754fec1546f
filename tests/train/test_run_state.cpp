#include <gtest/gtest.h>

#include <limits>

#include "core/error.h"
#include "train/bad_steps.h"
#include "train/run_state.h"

namespace saslm {
namespace {

TEST(RunState, SurvivesTheRoundTripBitForBit) {
  RunState state{.step = 7, .updates = 6, .tokens = 1 << 20, .sample_index = uint64_t(1) << 40};
  state.detector.losses = {1.0 / 3, 2.7182818284590452, 0x1.fffffffffffffp-3};
  state.detector.bad_in_row = 1;
  state.train_fingerprint = "a";
  state.product_table = "a GPU\n1 : 2\n";
  const RunState back = run_state_from_json(to_json(state), "here");
  EXPECT_EQ(back.step, state.step);
  EXPECT_EQ(back.updates, state.updates);
  EXPECT_EQ(back.tokens, state.tokens);
  EXPECT_EQ(back.sample_index, state.sample_index);
  EXPECT_EQ(back.detector.losses, state.detector.losses);
  EXPECT_EQ(back.detector.bad_in_row, 1);
  EXPECT_EQ(back.train_fingerprint, "a");
  EXPECT_EQ(back.product_table, state.product_table);
}

TEST(RunState, AnythingElseIsRefused) {
  for (const char* text : {"", "{}", "[1]", "{\"version\":2}", "{\"version\":1,\"step\":\"x\"}"})
    EXPECT_THROW(run_state_from_json(text, "here"), CheckpointError) << text;
}

TEST(Resume, AnotherModelIsRefusedAndEveryDifferenceNamed) {
  const std::string saved = R"({"model":{"n_layer":2,"d_model":8},"optim":{"lr":1.0}})";
  const std::string now = R"({"model":{"n_layer":3,"d_model":9},"optim":{"lr":1.0}})";
  try {
    check_resumable(saved, now, "step_1");
    FAIL() << "not refused";
  } catch (const CheckpointError& e) {
    const std::string message = e.what();
    EXPECT_NE(message.find("model.n_layer: 2 in the checkpoint, 3 now"), std::string::npos) << message;
    EXPECT_NE(message.find("model.d_model: 8 in the checkpoint, 9 now"), std::string::npos) << message;
  }
}

TEST(Resume, ANewLearningRateIsAllowedAndTold) {
  const auto noted = check_resumable(R"({"optim":{"lr":1.0},"runtime":{"threads":1}})",
                                     R"({"optim":{"lr":2.0},"runtime":{"threads":2}})", "step_1");
  ASSERT_EQ(noted.size(), 1u);
  EXPECT_NE(noted[0].find("optim.lr"), std::string::npos);
}

TEST(Resume, AFieldThatIsNewIsADifference) {
  EXPECT_THROW(check_resumable(R"({"model":{}})", R"({"model":{"sas":{"heads":true}}})", "x"),
               CheckpointError);
}

TrainConfig watchful() {
  TrainConfig c;
  c.max_bad_steps = 3;
  c.spike_threshold = 4;
  c.spike_window = 4;
  return c;
}

TEST(BadSteps, ABadStepLeavesTheStatisticsAlone) {
  BadStepDetector detector(watchful());
  for (const double loss : {2.0, 2.1, 1.9, 2.0}) EXPECT_FALSE(detector.judge(loss, 1));
  const auto before = detector.state().losses;
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(detector.judge(nan, 1));
  EXPECT_TRUE(detector.judge(2, inf));
  EXPECT_FALSE(detector.diverged());
  EXPECT_TRUE(detector.judge(9, 1));  // a spike: the deviation is about 0.07
  EXPECT_TRUE(detector.diverged());
  EXPECT_EQ(detector.state().losses, before);
}

TEST(BadSteps, AGoodStepStartsTheCountAgain) {
  BadStepDetector detector(watchful());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  detector.judge(nan, 1);
  detector.judge(nan, 1);
  EXPECT_FALSE(detector.judge(2, 1));
  detector.judge(nan, 1);
  EXPECT_FALSE(detector.diverged());
}

TEST(BadSteps, WithoutAThresholdNoLossIsASpike) {
  TrainConfig config = watchful();
  config.spike_threshold = 0;
  BadStepDetector detector(config);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(detector.judge(2, 1));
  EXPECT_FALSE(detector.judge(1e9, 1));
}

}  // namespace
}  // namespace saslm
