// Whole tiny models in double: every weight's gradient is the slope of the loss, and the cache changes
// nothing. Variants of a file of their own add their models beside their other tests (test_project_*.cpp).
#include <cmath>

#include "core/rng.h"
#include "tests/model/whole_model.h"
#include "train/engine.h"

namespace saslm {
namespace {

ModelConfig grouped(SasConfig sas) {
  ModelConfig model = tiny(AttentionKind::gqa);
  model.attention.n_head = 4;
  model.attention.projection = GqaConfig{2};
  model.attention.sas = sas;
  return model;
}

std::vector<int32_t> some_tokens(int64_t count, const char* purpose) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i)
    tokens.push_back(int32_t(uniform(stream_key(3, purpose), uint64_t(i)) * double(kVocab)));
  return tokens;
}

std::vector<ModelCase> cases() {
  std::vector<ModelCase> all;
  for (const AttentionKind kind :
       {AttentionKind::mha, AttentionKind::mqa, AttentionKind::gqa, AttentionKind::sas})
    all.push_back({name_of(kind), tiny(kind)});

  ModelCase classic{"mha_layernorm_gelu_learned_bias_untied", tiny(AttentionKind::mha)};
  classic.model.norm.kind = NormKind::layernorm;
  classic.model.mlp.kind = MlpKind::gelu;
  classic.model.attention.position = PositionKind::learned;
  classic.model.bias = true;
  classic.model.tie_embeddings = false;
  all.push_back(classic);

  ModelCase biased{"sas_relu2_no_position_bias", tiny(AttentionKind::sas)};
  biased.model.mlp.kind = MlpKind::relu2;
  biased.model.attention.position = PositionKind::none;
  biased.model.bias = true;
  all.push_back(biased);

  ModelCase identity{"sas_identity", tiny(AttentionKind::sas)};
  identity.model.attention.sas->init = SasInit::identity;
  identity.model.attention.sas->kernel_size = 1;
  all.push_back(identity);

  ModelCase capped{"mha_softcap", tiny(AttentionKind::mha)};
  capped.model.logit_softcap = 0.8;
  all.push_back(capped);

  all.push_back({"gqa_sas", grouped({.n_sim_head = 8, .sim_head_dim = 6, .kernel_size = 3})});
  all.push_back({"gqa_sas_without_values",
                 grouped({.n_sim_head = 8, .sim_head_dim = 6, .kernel_size = 3, .values = false})});
  all.push_back(
      {"gqa_sas_features_only",
       grouped({.n_sim_head = 4, .sim_head_dim = 6, .kernel_size = 3, .heads = false, .values = false})});
  all.push_back(
      {"gqa_sas_heads_only",
       grouped({.n_sim_head = 8, .sim_head_dim = 4, .kernel_size = 5, .features = false, .values = false})});
  return all;
}

// Without rotation a constant added to every key adds the same to all of a query's scores, which softmax
// undoes.
bool has_no_effect(const ModelConfig& model, const std::string& name) {
  if (model.attention.position == PositionKind::rope) return false;
  return name.ends_with(model.attention.sas ? "attn.sas.k.proj2.bias" : "attn.k.bias");
}

// The loss is smooth except where relu turns, which a random draw does not hit; central differences in double
// with h = 1e-5 are good to about h^2 + eps/h = 1e-10, relative to the largest slope of the tensor.
TEST_P(WholeModel, EveryGradientIsTheSlopeOfTheLoss) {
  Engine<double> engine(GetParam().model, {kBatch, kSeqLen}, Mode::train, cpu_ops<double>());
  engine.state().initialise(7);
  const auto inputs = some_tokens(kBatch * kSeqLen, "in"), targets = some_tokens(kBatch * kSeqLen, "out");
  const TokenBatch batch{.inputs = mat(inputs.data(), kBatch, kSeqLen),
                         .targets = mat(targets.data(), kBatch, kSeqLen)};

  // Weights of usual size leave attention almost uniform; larger ones make every path matter.
  for (const ParamSpec& spec : engine.layout().params()) {
    const Vec<double> w = engine.arena().tensor<double>(Region::parameters, spec);
    for (int64_t i = 0; i < w.size; ++i) w[i] += 0.3 * normal(stream_key(5, spec.name), uint64_t(i));
  }
  const double scale = 1.0 / double(kBatch * kSeqLen);
  const auto step = [&] { return engine.compute_gradients([&](int64_t) { return batch; }); };
  const auto totals = step();
  EXPECT_DOUBLE_EQ(totals.loss, scale * engine.loss(batch));
  const Vec<double> all = engine.arena().gradients();
  const std::vector<double> gradients(all.data, all.data + all.size);

  // What training minimises. Auxiliary losses are made in backward, which spoils the gradients in the arena.
  const auto objective = [&] {
    if (!totals.aux_loss) return scale * engine.loss(batch);
    const auto again = step();
    return again.loss + *again.aux_loss;
  };
  for (const ParamSpec& spec : engine.layout().params()) {
    const Vec<double> w = engine.arena().tensor<double>(Region::parameters, spec);
    const double* const grad = gradients.data() + spec.offset;
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < w.size; ++i) {
      constexpr double h = 1e-5;
      ASSERT_TRUE(std::isfinite(grad[i])) << spec.name << " at " << i;  // std::max below passes NaN over
      const double kept = w[i];
      w[i] = kept + h;
      const double up = objective();
      w[i] = kept - h;
      const double down = objective();
      w[i] = kept;
      const double slope = (up - down) / (2 * h);
      largest = std::max(largest, std::abs(slope));
      worst = std::max(worst, std::abs(slope - grad[i]));
    }
    EXPECT_LE(worst, 1e-7 * largest + 1e-9) << spec.name << ", largest slope " << largest;
    if (has_no_effect(GetParam().model, spec.name)) continue;
    EXPECT_GT(largest, 1e-6) << spec.name << " does not reach the loss: the check would prove nothing";
  }
}

TEST_P(WholeModel, CachedDecodingEqualsReadingTheWholeText) {
  Engine<double> engine(GetParam().model, {1, 8}, Mode::infer, cpu_ops<double>());
  engine.state().initialise(7);
  const auto tokens = some_tokens(8, "text");
  std::vector<double> whole, cached;
  for (int64_t length = 1; length <= 8; ++length) {
    engine.model().next_logits(engine.backend(), {.inputs = mat(tokens.data(), 1, length)}, whole);
    // Read again in two pieces, the second one token long.
    if (length > 1)
      engine.model().next_logits(engine.backend(), {.inputs = mat(tokens.data(), 1, length - 1)}, cached);
    engine.model().next_logits(
        engine.backend(), {.inputs = mat(tokens.data() + length - 1, 1, 1), .start = length - 1}, cached);
    ASSERT_EQ(whole.size(), size_t(kVocab));
    for (int64_t v = 0; v < kVocab; ++v)
      EXPECT_NEAR(whole[size_t(v)], cached[size_t(v)], 1e-13) << "length " << length;
  }
}

TEST_P(WholeModel, AFutureTokenChangesNoEarlierLoss) {
  Engine<double> engine(GetParam().model, {1, 8}, Mode::train, cpu_ops<double>());
  engine.state().initialise(7);
  auto inputs = some_tokens(8, "in");
  const auto targets = some_tokens(8, "out");
  std::vector<double> before, after;
  const auto first_of = [&](int64_t length) {
    return TokenBatch{.inputs = mat<const int32_t>(inputs.data(), 1, length),
                      .targets = mat(targets.data(), 1, length)};
  };
  const auto first_seven = [&](std::vector<double>& losses) {
    for (int64_t length = 1; length <= 7; ++length) losses.push_back(engine.loss(first_of(length)));
  };
  first_seven(before);
  inputs[7] = (inputs[7] + 1) % int32_t(kVocab);
  const double whole_before = engine.loss(first_of(8));
  inputs[7] = (inputs[7] + 1) % int32_t(kVocab);
  const double whole_after = engine.loss(first_of(8));
  first_seven(after);
  EXPECT_EQ(before, after);
  EXPECT_NE(whole_before, whole_after);
}

INSTANTIATE_TEST_SUITE_P(Kinds, WholeModel, testing::ValuesIn(cases()), name_of_case);

TEST(Initialisation, AValueDependsOnSeedNameAndIndexAlone) {
  Engine<float> small(tiny(AttentionKind::sas), {1, 2}, Mode::infer, cpu_ops<float>());
  Engine<float> large(tiny(AttentionKind::sas), {kBatch, kSeqLen}, Mode::train, cpu_ops<float>());
  small.state().initialise(1);
  large.state().initialise(1);
  const auto a = small.state().fetch().weights, b = large.state().fetch().weights;  // in the engines' memory
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_TRUE(std::equal(a[i].data.begin(), a[i].data.end(), b[i].data.begin())) << a[i].name;
  large.state().initialise(2);
  EXPECT_FALSE(std::equal(a[0].data.begin(), a[0].data.end(), b[0].data.begin()));
}

TEST(Initialisation, ResidualProjectionsAreSmallerAndSasFollowsFanIn) {
  ModelConfig model = tiny(AttentionKind::sas);
  model.d_model = 64;
  model.mlp.hidden = 64;
  Engine<float> engine(model, {1, 2}, Mode::infer, cpu_ops<float>());
  engine.state().initialise(1);
  const auto deviation_of = [&](const std::string& name) {
    for (const ConstNamedTensor& t : engine.state().fetch().weights) {
      if (t.name != name) continue;
      double square = 0;
      for (const float x : t.data) square += double(x) * x;
      return std::sqrt(square / double(t.data.size()));
    }
    ADD_FAILURE() << "no tensor " << name;
    return 0.0;
  };
  // A sample of n values has a relative error of 1/sqrt(2n): 4 sigma of 4096, 512 and 24 values.
  EXPECT_NEAR(deviation_of("layers.0.mlp.gate.weight"), 0.02, 0.02 * 0.045);
  EXPECT_NEAR(deviation_of("layers.1.mlp.down.weight"), 0.01, 0.01 * 0.045);
  EXPECT_NEAR(deviation_of("layers.0.attn.o.weight"), 0.01, 0.01 * 0.13);
  EXPECT_NEAR(deviation_of("layers.0.attn.sas.q.conv1.weight"), 1 / std::sqrt(3.0 * 6), 0.08);
  EXPECT_EQ(deviation_of("layers.0.attn_norm.weight"), 1);
}

}  // namespace
}  // namespace saslm
