// What becomes of the logits: a soft cap in all uses of a model, and the z-loss of training.
#include <cmath>

#include "core/rng.h"
#include "tests/model/whole_model.h"
#include "train/engine.h"

namespace saslm {
namespace {

ModelConfig with_softcap(double cap, bool tied = true) {
  ModelConfig model = tiny(AttentionKind::mha);
  model.logit_softcap = cap;
  model.tie_embeddings = tied;
  return model;
}

// Weights large enough that the cap bends the logits.
struct CappedEngine {
  CappedEngine(const ModelConfig& model, const RunShape& run, Mode mode)
      : engine(model, run, mode, cpu_ops<double>()) {
    engine.state().initialise(7);
    for (const ParamSpec& spec : engine.layout().params()) {
      const Vec<double> w = engine.arena().tensor<double>(Region::parameters, spec);
      for (int64_t i = 0; i < w.size; ++i) w[i] += 0.8 * normal(stream_key(5, spec.name), uint64_t(i));
    }
    for (int32_t i = 0; i < 512; ++i) tokens.push_back(int32_t(i * 7 % kVocab));
  }
  auto step(int64_t B, int64_t T, int64_t first = 0) {
    return engine.compute_gradients([&](int64_t micro) { return batch(B, T, first + micro * B * T); });
  }
  TokenBatch batch(int64_t B, int64_t T, int64_t first = 0) const {
    return {.inputs = mat(tokens.data() + first, B, T), .targets = mat(tokens.data() + first + 1, B, T)};
  }
  std::vector<double> next_logits() {
    std::vector<double> logits;
    engine.model().next_logits(engine.backend(), batch(1, 1), logits);
    return logits;
  }
  std::vector<int32_t> tokens;
  Engine<double> engine;
};

double log_sum(const std::vector<double>& logits) {
  double sum = 0;
  for (const double z : logits) sum += std::exp(z);
  return std::log(sum);
}

TEST(SoftCap, BendsTheLogitsOfGenerationAndTheLossAlike) {
  constexpr double kCap = 1.5;
  const RunShape one{.batch = 1, .seq_len = 1, .z_loss = 0.25};
  CappedEngine plain(with_softcap(0), one, Mode::infer), capped(with_softcap(kCap), one, Mode::infer),
      trained(with_softcap(kCap), one, Mode::train);
  const std::vector<double> raw = plain.next_logits(), logits = capped.next_logits();
  double moved = 0;
  for (size_t v = 0; v < raw.size(); ++v) {
    EXPECT_NEAR(logits[v], kCap * std::tanh(raw[v] / kCap), 1e-14);
    moved = std::max(moved, std::abs(logits[v] - raw[v]));
  }
  EXPECT_GT(moved, 0.1) << "the check would prove nothing";
  const double lse = log_sum(logits), wanted = lse - logits[size_t(trained.tokens[1])];
  const auto totals = trained.step(1, 1);
  EXPECT_NEAR(totals.loss, wanted, 1e-13);
  EXPECT_NEAR(totals.aux_loss.value_or(0), 0.25 * lse * lse, 1e-13);
  EXPECT_NEAR(capped.engine.loss(capped.batch(1, 1)), wanted, 1e-13);
}

// The objective is smooth: central differences as in test_transformer.cpp.
TEST(ZLoss, EveryGradientIsTheSlopeOfLossAndZLoss) {
  for (const bool tied : {true, false}) {
    CappedEngine k(with_softcap(2, tied), {.batch = 2, .seq_len = 5, .micro_batches = 2, .z_loss = 0.3},
                   Mode::train);
    const auto objective = [&] {
      const auto totals = k.step(2, 5);
      return totals.loss + totals.aux_loss.value_or(0);
    };
    objective();
    const Vec<double> all = k.engine.arena().gradients();
    const std::vector<double> gradients(all.data, all.data + all.size);
    for (const ParamSpec& spec : k.engine.layout().params()) {
      const Vec<double> w = k.engine.arena().tensor<double>(Region::parameters, spec);
      for (int64_t i = 0; i < w.size; i += 8) {
        constexpr double h = 1e-5;
        const double kept = w[i];
        w[i] = kept + h;
        const double up = objective();
        w[i] = kept - h;
        const double down = objective();
        w[i] = kept;
        ASSERT_NEAR(gradients[size_t(spec.offset + i)], (up - down) / (2 * h), 2e-7) << spec.name << " " << i;
      }
    }
  }
}

TEST(ZLoss, LeavesTheLossAndIsAbsentWithoutAWeight) {
  CappedEngine without(with_softcap(0), {.batch = 2, .seq_len = 5}, Mode::train),
      with(with_softcap(0), {.batch = 2, .seq_len = 5, .z_loss = 0.1}, Mode::train);
  const auto plain = without.step(2, 5), weighted = with.step(2, 5);
  EXPECT_EQ(plain.loss, weighted.loss);
  EXPECT_FALSE(plain.aux_loss);
  EXPECT_GT(weighted.aux_loss.value_or(0), 0);
  EXPECT_NE(plain.grad_norm, weighted.grad_norm);
}

// 100 rows of 150,000 logits are two chunks, 50 are one.
TEST(ZLoss, IsTheMeanOverTokensInChunksAndInMicroBatches) {
  ModelConfig model = with_softcap(3);
  model.vocab_size = 150000, model.max_seq_len = 50;
  CappedEngine whole(model, {.batch = 2, .seq_len = 50, .z_loss = 0.1}, Mode::train),
      micro(model, {.batch = 1, .seq_len = 50, .micro_batches = 2, .z_loss = 0.1}, Mode::train);
  const auto at_once = whole.step(2, 50), in_two = micro.step(1, 50);
  EXPECT_NEAR(at_once.aux_loss.value_or(0), in_two.aux_loss.value_or(1), 1e-11);
  EXPECT_NEAR(at_once.loss, in_two.loss, 1e-11);
  EXPECT_NEAR(at_once.grad_norm, in_two.grad_norm, 1e-9);
}

}  // namespace
}  // namespace saslm
