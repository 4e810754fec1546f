// Whole models against an independent float64 PyTorch script (scripts/make_golden.py), on any backend: the
// unclipped gradient of every tensor at the first step, then every step's loss, gradient norm and learning
// rate, and every evaluation.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "tests/own_folder.h"
#include "train/load_state.h"
#include "train/trainer.h"

namespace saslm {

struct GoldenTolerance {
  double loss = 0, grad_norm = 0;  // relative; grad_norm's also of aux_loss, which counts choices
  // Of the largest tensor's gradient: what the rounding of terms that cancel leaves in any other's. (A key
  // bias without rotation has a gradient of zero but for that.)
  double grad_floor = 0;
};

// A golden model's numbers; or what each of them may be off by beside the tolerance (golden_spread.h).
struct GoldenNumbers {
  std::map<std::string, double> first_grad_norms;
  std::vector<StepRecord> steps;
  std::vector<EvalRecord> evals;
};

inline std::filesystem::path golden_folder(const std::string& name) {
  return std::filesystem::path(SASLM_GOLDEN_DIR) / name;
}

inline std::vector<std::string> golden_cases() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(SASLM_GOLDEN_DIR))
    if (std::filesystem::exists(entry.path() / "expected.json")) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

// From the weights in `weights`, a folder: the L2 norm of every tensor's gradient before the first step.
template <class T>
std::map<std::string, double> first_grad_norms(const Config& c, const std::string& weights,
                                               const Ops<T>& ops) {
  Engine<T> engine(c.model, training_shape(c), Mode::train, ops);
  EXPECT_EQ(load_weights(engine.state(), weights), "");
  const TokenSet set(c.data.train, c.model.vocab_size, c.train.seq_len);
  const BatchLoader loader(set, c.data.shuffle, c.train.seed);
  TokenBuffer tokens(c.train.micro_batch, c.train.seq_len);
  engine.compute_gradients([&](int64_t micro) {
    loader.load(uint64_t(micro * c.train.micro_batch), tokens);
    return tokens.batch();
  });
  std::map<std::string, double> norms;
  const StateTensors gradients = engine.state().gradients();
  for (const ConstNamedTensor& g : gradients.weights) {
    double square = 0;
    for (const float x : g.data) square += double(x) * double(x);
    norms[g.name] = std::sqrt(square);
  }
  return norms;
}

// Trains from the weights in that folder; all but the first gradients.
template <class T>
GoldenNumbers train_golden(const Config& c, const std::string& weights, const Ops<T>& ops) {
  struct Recorder : TrainObserver {
    void step(const StepRecord& record) override { numbers.steps.push_back(record); }
    void eval(const EvalRecord& record) override { numbers.evals.push_back(record); }
    GoldenNumbers numbers;
  } recorder;
  const test::OwnFolder run_dir;
  Trainer<T> trainer(c, {.run_dir = run_dir.path(), .init_from = weights}, ops, recorder);
  EXPECT_EQ(trainer.run(), TrainEnd::finished);
  return recorder.numbers;
}

template <class T>
class GoldenRun {
 public:
  // `spread`, where there is one, is as long as the numbers of the case.
  GoldenRun(const std::string& name, const Ops<T>& ops, GoldenTolerance tolerance, GoldenNumbers spread = {})
      : name_(name), ops_(ops), tolerance_(tolerance), spread_(std::move(spread)) {}

  void expect_first_gradients() const {
    const nlohmann::json norms = expected()["first_grad_norms"];
    double largest = 0;
    for (const nlohmann::json& norm : norms) largest = std::max(largest, norm.get<double>());
    const auto got = first_grad_norms(config(), golden_folder(name_), ops_);
    ASSERT_EQ(norms.size(), got.size());
    for (const auto& [tensor, norm] : got) {
      ASSERT_TRUE(norms.contains(tensor)) << tensor;
      const auto moved = spread_.first_grad_norms.find(tensor);
      expect_near(
          norm, norms[tensor], tolerance_.grad_norm,
          tolerance_.grad_floor * largest + (moved == spread_.first_grad_norms.end() ? 0 : moved->second),
          tensor);
    }
  }

  void expect_every_step() const {
    const GoldenNumbers got = train_golden(config(), golden_folder(name_), ops_);
    const nlohmann::json want = expected();
    ASSERT_GE(want["steps"].size(), 10u);
    ASSERT_EQ(want["steps"].size(), got.steps.size());
    for (size_t i = 0; i < got.steps.size(); ++i) {
      const StepRecord moved = i < spread_.steps.size() ? spread_.steps[i] : StepRecord{};
      expect_step(got.steps[i], want["steps"][i], moved, "step " + std::to_string(i) + " ");
    }
    ASSERT_EQ(want["evals"].size(), got.evals.size());
    for (size_t i = 0; i < got.evals.size(); ++i) {
      EXPECT_EQ(got.evals[i].step, want["evals"][i]["step"]);
      expect_near(got.evals[i].val_loss, want["evals"][i]["val_loss"], tolerance_.loss,
                  i < spread_.evals.size() ? spread_.evals[i].val_loss : 0,
                  "evaluation " + std::to_string(i));
    }
  }

 private:
  void expect_step(const StepRecord& got, const nlohmann::json& want, const StepRecord& moved,
                   const std::string& at) const {
    EXPECT_EQ(got.step, want["step"]);
    expect_near(got.loss, want["loss"], tolerance_.loss, moved.loss, at + "loss");
    expect_near(got.grad_norm, want["grad_norm"], tolerance_.grad_norm, moved.grad_norm, at + "grad_norm");
    EXPECT_EQ(want.contains("aux_loss"), got.aux_loss.has_value());
    if (got.aux_loss)
      expect_near(*got.aux_loss, want["aux_loss"], tolerance_.grad_norm, moved.aux_loss.value_or(0),
                  at + "aux_loss");
    EXPECT_NEAR(got.lr, double(want["lr"]), 1e-12) << at << "lr";
  }

  nlohmann::json expected() const {
    return nlohmann::json::parse(std::ifstream(golden_folder(name_) / "expected.json"));
  }
  Config config() const { return load_config(golden_folder(name_) / "config.json"); }

  static void expect_near(double got, double wanted, double relative, double absolute,
                          const std::string& what) {
    EXPECT_LE(std::abs(got - wanted), relative * std::abs(wanted) + absolute)
        << what << ": wanted " << wanted << ", got " << got;
  }

  std::string name_;
  const Ops<T>& ops_;
  GoldenTolerance tolerance_;
  GoldenNumbers spread_;
};

}  // namespace saslm
