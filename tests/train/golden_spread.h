// How far a golden model's numbers move where its weights move as far as a type of storage rounds: what may
// be asked of a run in that type. Some models magnify a displacement, others do not: near a tie a mixture of
// heads chooses another, and a gradient that is a difference of large terms changes by more than its share.
//
// Each of `draws` runs of the CPU in fp32 starts from weights that are each off by up to `relative` of
// themselves, evenly drawn; the result is the largest difference of each number to the run that starts from
// the weights themselves.
#pragma once
#include <random>

#include "checkpoint/safetensors.h"
#include "tests/train/golden.h"

namespace saslm {

// Writes the case's weights, displaced, as those of a model in `folder`.
inline void write_displaced(const std::string& name, double relative, unsigned seed,
                            const std::filesystem::path& folder) {
  const Config c = load_config(golden_folder(name) / "config.json");
  Engine<float> engine(c.model, training_shape(c), Mode::train, cpu_ops<float>());
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> draw(-relative, relative);
  load_weights(golden_folder(name), engine.state().names().weights, [&](ConstNamedTensor tensor) {
    std::vector<float> displaced(tensor.data.begin(), tensor.data.end());
    for (float& x : displaced) x = float(double(x) * (1 + draw(random)));
    tensor.data = displaced;
    engine.state().store(tensor);
  });
  std::filesystem::copy_file(golden_folder(name) / "config.json", folder / "config.json");
  const StateTensors displaced = engine.state().fetch();
  SafetensorsWriter((folder / "model.safetensors").string(), displaced.weights).write();
}

inline void take_largest(double& largest, double a, double b) {
  largest = std::max(largest, std::abs(a - b));
}

inline GoldenNumbers golden_spread(const std::string& name, double relative, unsigned draws) {
  const Config c = load_config(golden_folder(name) / "config.json");
  const Ops<float>& ops = cpu_ops<float>();
  const GoldenNumbers still = train_golden(c, golden_folder(name), ops);
  const auto still_norms = first_grad_norms(c, golden_folder(name), ops);
  GoldenNumbers spread{.steps = std::vector<StepRecord>(still.steps.size()),
                       .evals = std::vector<EvalRecord>(still.evals.size())};
  for (unsigned seed = 1; seed <= draws; ++seed) {
    const test::OwnFolder folder;
    write_displaced(name, relative, seed, folder.path());
    const GoldenNumbers moved = train_golden(c, folder.path(), ops);
    for (size_t i = 0; i < still.steps.size(); ++i) {
      StepRecord& s = spread.steps[i];
      take_largest(s.loss, moved.steps[i].loss, still.steps[i].loss);
      take_largest(s.grad_norm, moved.steps[i].grad_norm, still.steps[i].grad_norm);
      s.aux_loss = s.aux_loss.value_or(0);
      take_largest(*s.aux_loss, moved.steps[i].aux_loss.value_or(0), still.steps[i].aux_loss.value_or(0));
    }
    for (size_t i = 0; i < still.evals.size(); ++i)
      take_largest(spread.evals[i].val_loss, moved.evals[i].val_loss, still.evals[i].val_loss);
    for (const auto& [tensor, norm] : first_grad_norms(c, folder.path(), ops))
      take_largest(spread.first_grad_norms[tensor], norm, still_norms.at(tensor));
  }
  return spread;
}

}  // namespace saslm
