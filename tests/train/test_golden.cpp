// Whole models against an independent float64 PyTorch script (scripts/make_golden.py): the unclipped gradient
// of every tensor at the first step, then every step's loss, gradient norm and learning rate, and every
// evaluation.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "train/trainer.h"

namespace saslm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Twelve fp32 steps against float64. Rounding errors of about 1e-7 a sum grow through the updates, where
// Adam's division by sqrt(v) passes on the relative error of the smallest gradients; 2e-4 is the promise.
constexpr double kRelative = 2e-4;

std::vector<std::string> golden_cases() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(SASLM_GOLDEN_DIR))
    if (fs::exists(entry.path() / "expected.json")) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

class Recorder : public TrainObserver {
 public:
  void step(const StepRecord& record) override { steps.push_back(record); }
  void eval(const EvalRecord& record) override { evals.push_back(record); }
  std::vector<StepRecord> steps;
  std::vector<EvalRecord> evals;
};

class Golden : public testing::TestWithParam<std::string> {
 protected:
  fs::path folder() const { return fs::path(SASLM_GOLDEN_DIR) / GetParam(); }
  json expected() const { return json::parse(std::ifstream(folder() / "expected.json")); }
  Config config() const { return load_config(folder() / "config.json"); }
};

void expect_relative(double got, double wanted, const std::string& what) {
  EXPECT_LE(std::abs(got - wanted), kRelative * std::abs(wanted))
      << what << ": wanted " << wanted << ", got " << got;
}

TEST_P(Golden, FirstGradientOfEveryTensorAgrees) {
  const Config c = config();
  const Engine<float> engine(c.model, {c.train.micro_batch, c.train.seq_len}, Mode::train, cpu_ops<float>());
  load_weights(folder(), engine.tensors(Region::masters));
  const TokenSet set(c.data.train, c.model.vocab_size, c.train.seq_len);
  const BatchLoader loader(set, c.data.shuffle, c.train.seed);
  std::vector<int32_t> inputs(size_t(c.train.micro_batch * c.train.seq_len)), targets(inputs.size());
  engine.zero_gradients();
  for (int64_t micro = 0; micro < c.train.grad_accum; ++micro) {
    loader.load(uint64_t(micro * c.train.micro_batch), c.train.micro_batch, inputs.data(), targets.data());
    engine.loss_and_grads(
        {.B = c.train.micro_batch, .T = c.train.seq_len, .inputs = inputs.data(), .targets = targets.data()},
        1.0 / double(c.train.global_batch * c.train.seq_len));
  }
  const json norms = expected()["first_grad_norms"];
  double largest = 0;
  for (const auto& [name, norm] : norms.items()) largest = std::max(largest, norm.get<double>());
  const auto gradients = engine.tensors(Region::gradients);
  ASSERT_EQ(norms.size(), gradients.size());
  for (const NamedTensor& g : gradients) {
    double square = 0;
    for (const float x : g.data) square += double(x) * double(x);
    ASSERT_TRUE(norms.contains(g.name)) << g.name;
    const double wanted = norms[g.name];
    // A gradient that is zero but for rounding (a key bias without rotation) has no relative error.
    if (wanted > 1e-9 * largest)
      expect_relative(std::sqrt(square), wanted, g.name);
    else
      EXPECT_LE(std::sqrt(square), 1e-6 * largest) << g.name;
  }
}

TEST_P(Golden, EveryStepAndEvaluationAgrees) {
  const fs::path run_dir = fs::path(testing::TempDir()) / ("saslm_golden_" + GetParam());
  fs::remove_all(run_dir);
  Recorder recorder;
  Trainer<float> trainer(config(), {.run_dir = run_dir, .init_from = folder()}, cpu_ops<float>(), recorder);
  EXPECT_EQ(trainer.run(), TrainEnd::finished);
  fs::remove_all(run_dir);

  const json want = expected();
  ASSERT_GE(want["steps"].size(), 10u);
  ASSERT_EQ(want["steps"].size(), recorder.steps.size());
  for (size_t i = 0; i < recorder.steps.size(); ++i) {
    const StepRecord& got = recorder.steps[i];
    const std::string at = "step " + std::to_string(i) + " ";
    EXPECT_EQ(got.step, want["steps"][i]["step"]);
    expect_relative(got.loss, want["steps"][i]["loss"], at + "loss");
    expect_relative(got.grad_norm, want["steps"][i]["grad_norm"], at + "grad_norm");
    EXPECT_EQ(want["steps"][i].contains("aux_loss"), got.aux_loss.has_value());
    if (got.aux_loss) expect_relative(*got.aux_loss, want["steps"][i]["aux_loss"], at + "aux_loss");
    EXPECT_NEAR(got.lr, want["steps"][i]["lr"].get<double>(), 1e-12) << at << "lr";
  }
  ASSERT_EQ(want["evals"].size(), recorder.evals.size());
  for (size_t i = 0; i < recorder.evals.size(); ++i) {
    EXPECT_EQ(recorder.evals[i].step, want["evals"][i]["step"]);
    expect_relative(recorder.evals[i].val_loss, want["evals"][i]["val_loss"],
                    "evaluation " + std::to_string(i));
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden, testing::ValuesIn(golden_cases()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace saslm
