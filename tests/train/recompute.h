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
  Engine<T> engine(c.model, training_shape(c), Mode::train, ops, single_rank(), {}, c.optim);
  EXPECT_EQ(engine.arena().bytes(), make_plan<T>(c, ops.host_memory).arena_bytes);
  EXPECT_EQ(load_weights(engine.state(), std::filesystem::path(SASLM_GOLDEN_DIR) / name), "");
  const TokenSet set(c.data.train, c.model.vocab_size, c.train.seq_len);
  const BatchLoader loader(set, c.data.shuffle, c.train.seed);
  TokenBuffer tokens(c.train.micro_batch, c.train.seq_len);

  std::vector<double> outcome;
  uint64_t sample = 0;
  for (int64_t step = 1; step <= 2; ++step) {
    const auto totals = engine.compute_gradients([&](int64_t) {
      loader.load(sample, tokens);
      sample += uint64_t(tokens.B());
      return tokens.batch();
    });
    outcome.insert(outcome.end(), {totals.loss, totals.aux_loss.value_or(0), totals.grad_norm});
    engine.update(c.optim.lr, totals.grad_norm, step);
    outcome.push_back(engine.loss(tokens.batch()));
  }
  for (const StateTensors& state : {engine.state().gradients(), engine.state().fetch()})
    for (const ConstNamedTensor& tensor : state.weights)
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
