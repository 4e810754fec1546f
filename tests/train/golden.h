// Whole models against an independent float64 PyTorch script (scripts/make_golden.py), on any backend: the
// unclipped gradient of every tensor at the first step, then every step's loss, gradient norm and learning
// rate, and every evaluation.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "tests/own_folder.h"
#include "train/trainer.h"

namespace saslm {

struct GoldenTolerance {
  double loss = 0, grad_norm = 0;  // relative; grad_norm's also of aux_loss, which counts choices
  // Of the largest tensor's gradient: what the rounding of terms that cancel leaves in any other's. (A key
  // bias without rotation has a gradient of zero but for that.)
  double grad_floor = 0;
};

inline std::vector<std::string> golden_cases() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(SASLM_GOLDEN_DIR))
    if (std::filesystem::exists(entry.path() / "expected.json")) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

template <class T>
class GoldenRun {
 public:
  GoldenRun(const std::string& name, const Ops<T>& ops, GoldenTolerance tolerance)
      : name_(name), ops_(ops), tolerance_(tolerance) {}

  void expect_first_gradients() const {
    const Config c = config();
    const Engine<T> engine(c.model, training_shape(c), Mode::train, ops_);
    load_weights(folder(), engine.fetch(Region::masters));
    engine.store(Region::masters);
    const TokenSet set(c.data.train, c.model.vocab_size, c.train.seq_len);
    const BatchLoader loader(set, c.data.shuffle, c.train.seed);
    std::vector<int32_t> inputs(size_t(c.train.micro_batch * c.train.seq_len)), targets(inputs.size());
    engine.begin_step();
    for (int64_t micro = 0; micro < c.train.grad_accum; ++micro) {
      loader.load(uint64_t(micro * c.train.micro_batch), c.train.micro_batch, inputs.data(), targets.data());
      engine.add_loss_and_grads({.B = c.train.micro_batch,
                                 .T = c.train.seq_len,
                                 .inputs = inputs.data(),
                                 .targets = targets.data()},
                                1.0 / double(c.train.global_batch * c.train.seq_len));
    }
    const nlohmann::json norms = expected()["first_grad_norms"];
    double largest = 0;
    for (const nlohmann::json& norm : norms) largest = std::max(largest, norm.get<double>());
    const auto gradients = engine.fetch(Region::gradients);
    ASSERT_EQ(norms.size(), gradients.size());
    for (const NamedTensor& g : gradients) {
      double square = 0;
      for (const float x : g.data) square += double(x) * double(x);
      ASSERT_TRUE(norms.contains(g.name)) << g.name;
      const double wanted = norms[g.name], got = std::sqrt(square);
      EXPECT_LE(std::abs(got - wanted), tolerance_.grad_norm * wanted + tolerance_.grad_floor * largest)
          << g.name << ": wanted " << wanted << ", got " << got;
    }
  }

  void expect_every_step() const {
    const test::OwnFolder run_dir;
    Recorder recorder;
    Trainer<T> trainer(config(), {.run_dir = run_dir.path(), .init_from = folder()}, ops_, recorder);
    EXPECT_EQ(trainer.run(), TrainEnd::finished);

    const nlohmann::json want = expected();
    ASSERT_GE(want["steps"].size(), 10u);
    ASSERT_EQ(want["steps"].size(), recorder.steps.size());
    for (size_t i = 0; i < recorder.steps.size(); ++i) {
      const StepRecord& got = recorder.steps[i];
      const std::string at = "step " + std::to_string(i) + " ";
      EXPECT_EQ(got.step, want["steps"][i]["step"]);
      expect_relative(got.loss, want["steps"][i]["loss"], tolerance_.loss, at + "loss");
      expect_relative(got.grad_norm, want["steps"][i]["grad_norm"], tolerance_.grad_norm, at + "grad_norm");
      EXPECT_EQ(want["steps"][i].contains("aux_loss"), got.aux_loss.has_value());
      if (got.aux_loss)
        expect_relative(*got.aux_loss, want["steps"][i]["aux_loss"], tolerance_.grad_norm, at + "aux_loss");
      EXPECT_NEAR(got.lr, double(want["steps"][i]["lr"]), 1e-12) << at << "lr";
    }
    ASSERT_EQ(want["evals"].size(), recorder.evals.size());
    for (size_t i = 0; i < recorder.evals.size(); ++i) {
      EXPECT_EQ(recorder.evals[i].step, want["evals"][i]["step"]);
      expect_relative(recorder.evals[i].val_loss, want["evals"][i]["val_loss"], tolerance_.loss,
                      "evaluation " + std::to_string(i));
    }
  }

 private:
  struct Recorder : TrainObserver {
    void step(const StepRecord& record) override { steps.push_back(record); }
    void eval(const EvalRecord& record) override { evals.push_back(record); }
    std::vector<StepRecord> steps;
    std::vector<EvalRecord> evals;
  };

  std::filesystem::path folder() const { return std::filesystem::path(SASLM_GOLDEN_DIR) / name_; }
  nlohmann::json expected() const { return nlohmann::json::parse(std::ifstream(folder() / "expected.json")); }
  Config config() const { return load_config(folder() / "config.json"); }

  static void expect_relative(double got, double wanted, double relative, const std::string& what) {
    EXPECT_LE(std::abs(got - wanted), relative * std::abs(wanted))
        << what << ": wanted " << wanted << ", got " << got;
  }

  std::string name_;
  const Ops<T>& ops_;
  GoldenTolerance tolerance_;
};

}  // namespace saslm
