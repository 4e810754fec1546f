#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "config/config.h"
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
  state.avoided = {"attention_bwd.tile", "sas_fwd.tile"};
  state.eval_sample = "0123";
  state.computed_by = {"cuda", "bf16", "00ff"};
  const RunState back = run_state_from_json(to_json(state), "here");
  EXPECT_EQ(back.step, state.step);
  EXPECT_EQ(back.updates, state.updates);
  EXPECT_EQ(back.tokens, state.tokens);
  EXPECT_EQ(back.sample_index, state.sample_index);
  EXPECT_EQ(back.detector.losses, state.detector.losses);
  EXPECT_EQ(back.detector.bad_in_row, 1);
  EXPECT_EQ(back.train_fingerprint, "a");
  EXPECT_EQ(back.product_table, state.product_table);
  EXPECT_EQ(back.avoided, state.avoided);
  EXPECT_EQ(back.eval_sample, "0123");
  EXPECT_EQ(to_json(back), to_json(state));
}

TEST(RunState, TokenizerAndOriginComeBackAndAreNotKnownOfEarlierStates) {
  RunState state;
  state.tokenizer = {"/where/it/was.json", "00ff"};
  state.origin = {"init_from", "/run/checkpoints/step_00000003", "aa", "bb", "weights"};
  const RunState back = run_state_from_json(to_json(state), "here");
  EXPECT_EQ(back.tokenizer.name, state.tokenizer.name);
  EXPECT_EQ(back.tokenizer.fingerprint, state.tokenizer.fingerprint);
  EXPECT_EQ(back.origin, state.origin);
  EXPECT_EQ(to_json(back), to_json(state));
  const RunState earlier = run_state_from_json(to_json(RunState{}), "here");
  EXPECT_EQ(earlier.tokenizer.name, "");
  EXPECT_EQ(earlier.origin, Origin{});
  EXPECT_TRUE(to_json(earlier.origin).is_null());
}

TEST(RunState, AnotherTokenizerOrOriginThanWeWriteIsRefused) {
  const auto refused = [](const char* key, const char* value) {
    auto state = nlohmann::json::parse(to_json(RunState{}));
    state[key] = nlohmann::json::parse(value);
    EXPECT_THROW(run_state_from_json(state.dump(), "here"), CheckpointError) << key << ": " << value;
  };
  for (const char* value : {"1", "\"x\"", "[]", "{}", R"({"name":"x"})", R"({"name":"x","fingerprint":1})",
                            R"({"name":"","fingerprint":"x"})", R"({"name":"x","fingerprint":"y","more":1})"})
    refused("tokenizer", value);
  for (const char* value : {"1", "\"seed\"", "[]", "{}", R"({"path":"x"})", R"({"kind":1})", R"({"kind":""})",
                            R"({"kind":"seed","path":null})", R"({"kind":"seed","other":"x"})"})
    refused("origin", value);
}

TEST(RunState, AnythingElseIsRefused) {
  for (const char* text : {"", "{}", "[1]", "{\"version\":2}", "{\"version\":1,\"step\":\"x\"}"})
    EXPECT_THROW(run_state_from_json(text, "here"), CheckpointError) << text;
}

TEST(RunState, WhatComputedItIsTextOrNotKnown) {
  auto state = nlohmann::json::parse(to_json(RunState{.computed_by = {"cpu", "fp32", "00ff"}}));
  for (const char* key : {"device", "precision", "build"}) {
    auto broken = state;
    broken[key] = 1;
    EXPECT_THROW(run_state_from_json(broken.dump(), "here"), CheckpointError) << key;
    state.erase(key);
  }
  EXPECT_EQ(state.dump(2) + "\n", to_json(RunState{}));
  const ComputedBy back = run_state_from_json(state.dump(), "here").computed_by, now{"cpu", "fp32", "00ff"};
  EXPECT_TRUE(other_arithmetic(back, now).empty());
  EXPECT_TRUE(other_build(back, now).empty());
}

TEST(Resume, AnotherDeviceAnotherPrecisionAndAnotherBuildAreTold) {
  const ComputedBy then{"cuda", "bf16", "00ff"};
  const auto lines = other_arithmetic(then, {"cpu", "fp32", "00ff"});
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], "device: cuda in the checkpoint, cpu now");
  EXPECT_EQ(lines[1], "precision: bf16 in the checkpoint, fp32 now");
  EXPECT_TRUE(other_arithmetic(then, {"cuda", "bf16", "11ee"}).empty());
  EXPECT_EQ(other_build(then, {"cuda", "bf16", "11ee"}),
            std::vector<std::string>{"another build of saslm saved the checkpoint"});
  EXPECT_TRUE(other_build(then, then).empty());
}

TEST(Resume, AnotherGpuLibraryDriverOrCudaIsTold) {
  const ComputedBy then{
      "cuda", "bf16", "00ff", {"A100", "8.0", "550.1, CUDA 12.4", "12.4", "cuBLASLt 12.4.5"}};
  const ComputedBy now{
      "cuda", "bf16", "00ff", {"H100", "9.0", "580.1, CUDA 13.0", "13.0", "cuBLASLt 13.1.0"}};
  const std::vector<std::string> arithmetic = {
      "GPU: A100 in the checkpoint, H100 now",
      "library of matrix products: cuBLASLt 12.4.5 in the checkpoint, cuBLASLt 13.1.0 now"};
  const std::vector<std::string> build = {"driver: 550.1, CUDA 12.4 in the checkpoint, 580.1, CUDA 13.0 now",
                                          "CUDA's runtime: 12.4 in the checkpoint, 13.0 now"};
  EXPECT_EQ(other_arithmetic(then, now), arithmetic);
  EXPECT_EQ(other_build(then, now), build);
  EXPECT_TRUE(other_arithmetic({"cuda", "bf16", "00ff"}, now).empty()) << "from before it was kept";
  EXPECT_TRUE(other_build({"cuda", "bf16", "00ff"}, now).empty());
}

TEST(RunState, KeepsThePlatform) {
  RunState state;
  state.computed_by = {
      "cuda", "bf16", "00ff", {"H200", "9.0", "580.1, CUDA 13.0", "13.0", "cuBLASLt 13.1.0"}};
  const Platform back = run_state_from_json(to_json(state), "here").computed_by.platform;
  EXPECT_EQ(back.gpu, "H200");
  EXPECT_EQ(back.capability, "9.0");
  EXPECT_EQ(back.driver, "580.1, CUDA 13.0");
  EXPECT_EQ(back.runtime, "13.0");
  EXPECT_EQ(back.library, "cuBLASLt 13.1.0");
  for (const char* value :
       {"1", "\"x\"", "[]", "{}", R"({"gpu":1})", R"({"gpu":""})", R"({"gpu":"x","more":"y"})"}) {
    auto broken = nlohmann::json::parse(to_json(state));
    broken["platform"] = nlohmann::json::parse(value);
    EXPECT_THROW(run_state_from_json(broken.dump(), "here"), CheckpointError) << value;
  }
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

// The dotted paths of all that a config may say, as `saslm schema` prints them.
void collect_fields(const nlohmann::json& schema, const std::string& path, std::set<std::string>& into) {
  if (!schema.contains("properties")) {
    into.insert(path);
    return;
  }
  for (const auto& [key, below] : schema["properties"].items())
    collect_fields(below, path.empty() ? key : path + "." + key, into);
}

nlohmann::json config_with(const std::string& field, const nlohmann::json& value) {
  std::string pointer = "/" + field;
  std::replace(pointer.begin(), pointer.end(), '.', '/');
  nlohmann::json config = {{"train", {{"micro_batch", 4}, {"grad_accum", 2}}}};
  config[nlohmann::json::json_pointer(pointer)] = value;
  return config;
}

// What a change of every field outside model, whose every change is refused, comes to. A new field belongs
// here.
TEST(Resume, EveryFieldOfAConfigIsRefusedOrToldOrKnownToBeFree) {
  const std::string refused = "refused", told = "told", free = "free";
  const std::map<std::string, std::string> rules = {{"data.train", free},
                                                    {"data.val", free},
                                                    {"data.shuffle", refused},
                                                    {"data.tokenizer", free},
                                                    {"optim.kind", refused},
                                                    {"optim.lr", told},
                                                    {"optim.betas", told},
                                                    {"optim.eps", told},
                                                    {"optim.weight_decay", told},
                                                    {"optim.grad_clip", told},
                                                    {"optim.schedule.kind", told},
                                                    {"optim.schedule.warmup_steps", told},
                                                    {"optim.schedule.min_lr_ratio", told},
                                                    {"optim.schedule.decay_fraction", told},
                                                    {"train.steps", told},
                                                    {"train.seq_len", refused},
                                                    {"train.micro_batch", refused},
                                                    {"train.grad_accum", refused},
                                                    {"train.global_batch", refused},
                                                    {"train.seed", refused},
                                                    {"train.z_loss", told},
                                                    {"train.max_bad_steps", told},
                                                    {"train.spike_threshold", told},
                                                    {"train.spike_window", told},
                                                    {"eval.every_steps", free},
                                                    {"eval.max_sequences", free},
                                                    {"checkpoint.every_steps", free},
                                                    {"checkpoint.keep_last", free},
                                                    {"checkpoint.keep_every", free},
                                                    {"checkpoint.background", free},
                                                    {"runtime.device", free},
                                                    {"runtime.precision", free},
                                                    {"runtime.threads", free},
                                                    {"runtime.peak_tflops", free},
                                                    {"runtime.recompute", free},
                                                    {"runtime.matmul", told},
                                                    {"runtime.selfcheck", free},
                                                    {"runtime.comm_timeout_s", free},
                                                    {"runtime.zero_stage", free},
                                                    {"runtime.gradient_sum", told}};
  std::set<std::string> fields, unseen;
  collect_fields(nlohmann::json::parse(config_schema()), "", fields);
  EXPECT_EQ(fields.erase("$schema"), 1u);  // is no setting
  for (const auto& [field, rule] : rules) unseen.insert(field);
  ASSERT_GT(fields.size(), 60u);
  for (const std::string& field : fields) {
    unseen.erase(field);
    const auto rule = rules.find(field);
    ASSERT_TRUE(field.starts_with("model.") || rule != rules.end()) << field << ": what if it changes?";
    const std::string wanted = rule == rules.end() ? refused : rule->second;
    std::string got, message;
    try {
      const auto noted =
          check_resumable(config_with(field, 3).dump(), config_with(field, 5).dump(), "step_1");
      got = noted.empty() ? free : told;
      for (const std::string& line : noted) message += line;
    } catch (const CheckpointError& e) {
      got = refused, message = e.what();
    }
    EXPECT_EQ(got, wanted) << field;
    const bool of_a_batch = field.ends_with("_batch") || field.ends_with("grad_accum");
    const std::string named = got == free ? "" : of_a_batch ? "train.sequences_per_step" : field;
    EXPECT_NE(message.find(named), std::string::npos) << message;
  }
  EXPECT_TRUE(unseen.empty()) << *unseen.begin() << " is no field";
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

TEST(BadSteps, AGradientWhoseSquareWouldBeInfiniteIsRefused) {
  BadStepDetector detector(watchful());
  EXPECT_FALSE(detector.judge(2, 1e18));
  EXPECT_TRUE(detector.judge(2, 2e19));
}

}  // namespace
}  // namespace saslm
