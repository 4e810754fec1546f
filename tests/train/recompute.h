// Golden models (golden.h) trained under a setting of runtime.recompute, on any backend.
#pragma once
#include "tests/train/golden.h"

namespace saslm {

inline Config golden_config(const std::string& name, Recompute recompute = Recompute::none) {
  Config config = load_config(std::filesystem::path(SASLM_GOLDEN_DIR) / name / "config.json");
  config.runtime.recompute = recompute;
  config.train.grad_accum = 2;
  config.train.global_batch = 2 * config.train.micro_batch;
  return config;
}

// Two steps of two micro-batches and an evaluation after each: every loss and norm, and at the end every
// gradient and every weight.
template <class T>
std::vector<double> outcome_of(const Config& c, const std::string& name, const Ops<T>& ops) {
  const Engine<T> engine(c.model, training_shape(c), Mode::train, ops);
  EXPECT_EQ(engine.arena().bytes(), make_plan<T>(c, ops.host_memory).arena_bytes);
  load_weights(std::filesystem::path(SASLM_GOLDEN_DIR) / name, engine.fetch(Region::masters));
  engine.store(Region::masters);
  const AdamWOptimizer<T> optimizer(engine, c.optim);
  const TokenSet set(c.data.train, c.model.vocab_size, c.train.seq_len);
  const BatchLoader loader(set, c.data.shuffle, c.train.seed);
  std::vector<int32_t> inputs(size_t(c.train.micro_batch * c.train.seq_len)), targets(inputs.size());
  const TokenBatch batch{
      .B = c.train.micro_batch, .T = c.train.seq_len, .inputs = inputs.data(), .targets = targets.data()};

  std::vector<double> outcome;
  uint64_t sample = 0;
  for (int64_t step = 1; step <= 2; ++step) {
    engine.begin_step();
    for (int micro = 0; micro < 2; ++micro, sample += uint64_t(batch.B)) {
      loader.load(sample, batch.B, inputs.data(), targets.data());
      engine.add_loss_and_grads(batch, 0.5 / double(inputs.size()));
    }
    const auto totals = engine.end_step();
    outcome.insert(outcome.end(), {totals.loss, totals.aux_loss.value_or(0), totals.grad_norm});
    optimizer.update(c.optim.lr, totals.grad_norm, step);
    outcome.push_back(engine.loss(batch));
  }
  for (const Region region : {Region::gradients, Region::masters})
    for (const NamedTensor& tensor : engine.fetch(region))
      outcome.insert(outcome.end(), tensor.data.begin(), tensor.data.end());
  return outcome;
}

template <class T>
void expect_recompute_changes_no_bit(const std::string& name, const Ops<T>& ops) {
  const std::vector<double> kept = outcome_of(golden_config(name), name, ops);
  for (const double x : kept) ASSERT_TRUE(std::isfinite(x));
  for (const Recompute recompute : {Recompute::sim, Recompute::block})
    EXPECT_TRUE(outcome_of(golden_config(name, recompute), name, ops) == kept) << name_of(recompute);
}

}  // namespace saslm
