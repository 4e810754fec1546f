// Mixture of heads: its models under the checks of every variant, its config, its tensors, its balance loss.
#include "core/rng.h"
#include "model/transformer.h"
#include "tests/config/config_files.h"
#include "tests/model/whole_model.h"
#include "train/engine.h"

namespace saslm {
namespace {

ModelConfig tiny_moh(const MohConfig& moh) {
  ModelConfig model = tiny(AttentionKind::moh);
  model.attention.n_head = 4;
  model.attention.projection = GqaConfig{4};
  model.attention.moh = moh;
  return model;
}
// A balance loss that weighs as much as the cross-entropy.
constexpr MohConfig kMoh = {.n_shared_head = 2, .top_k = 1, .balance_weight = 2};

std::vector<ModelCase> moh_cases() {
  std::vector<ModelCase> all{{"moh", tiny_moh(kMoh)}};
  all.push_back({"moh_authors_gates", tiny_moh(kMoh)});
  all.back().model.attention.moh->gates = MohGates::authors;
  all.push_back({"moh_authors_gates_all_routed_bias",
                 tiny_moh({.top_k = 3, .balance_weight = 1, .gates = MohGates::authors})});
  all.back().model.bias = true;
  all.push_back({"moh_all_routed", tiny_moh({.top_k = 2, .balance_weight = 0})});

  const auto composed = [&](const char* name, AttentionKind kind, const ProjectionConfig& projection,
                            const std::optional<SasConfig>& sas = {}) {
    all.push_back({name, tiny_moh(kMoh)});
    all.back().model.attention.kind = kind;
    all.back().model.attention.projection = projection;
    all.back().model.attention.sas = sas;
  };
  const SasConfig sas{.n_sim_head = 8, .sim_head_dim = 6, .kernel_size = 3};
  composed("moh_over_gqa", AttentionKind::gqa, GqaConfig{2});
  composed("moh_over_tpa", AttentionKind::tpa, TpaConfig{.q_rank = 2, .k_rank = 2, .v_rank = 1});
  composed("moh_over_mla", AttentionKind::mla,
           MlaConfig{.q_rank = 5, .kv_rank = 3, .nope_dim = 2, .rope_dim = 2, .v_dim = 3});
  composed("moh_over_sas", AttentionKind::sas, GqaConfig{4}, sas);
  composed("moh_over_gqa_sas", AttentionKind::gqa, GqaConfig{2}, sas);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Moh, WholeModel, testing::ValuesIn(moh_cases()), name_of_case);

TEST(MohStage, DeclaresOneRouterALayer) {
  for (const int64_t shared : {0, 2}) {
    Layout<float> layout(Mode::infer);
    const Transformer<float> transformer(layout, tiny_moh({.n_shared_head = shared, .top_k = 1}), {1, 4});
    std::map<std::string, std::vector<int64_t>> got;
    for (const ParamSpec& spec : layout.params())
      if (spec.part == "moh") got[spec.name] = spec.shape;
    const std::vector<int64_t> shape = {shared > 0 ? 4 + 2 : 4, 6};
    const std::map<std::string, std::vector<int64_t>> wanted = {{"layers.0.attn.moh.router.weight", shape},
                                                                {"layers.1.attn.moh.router.weight", shape}};
    EXPECT_EQ(got, wanted);
  }
}

TEST(MohStage, CountsAllHeadsAndTheRouter) {
  ModelConfig mha = tiny_moh(kMoh);
  mha.attention.moh.reset();
  Layout<float> with(Mode::infer), without(Mode::infer);
  const double macs = Transformer<float>(with, tiny_moh(kMoh), {1, 4}).macs(8).attention;
  EXPECT_EQ(macs, Transformer<float>(without, mha, {1, 4}).macs(8).attention + 2 * (6 * 6 + 4 * 4));
}

struct Trained {
  explicit Trained(const ModelConfig& model, int64_t micro_batches = 1)
      : engine(model, {.batch = kBatch, .seq_len = kSeqLen, .micro_batches = micro_batches}, Mode::train,
               cpu_ops<double>()) {
    engine.state().initialise(7);
    for (int64_t i = 0; i < kBatch * kSeqLen; ++i)
      tokens.push_back(int32_t(uniform(stream_key(3, "in"), uint64_t(i)) * double(kVocab)));
    totals = engine.compute_gradients([&](int64_t) {
      const auto all = mat<const int32_t>(tokens.data(), kBatch, kSeqLen);
      return TokenBatch{.inputs = all, .targets = all};
    });
  }
  std::vector<int32_t> tokens;
  Engine<double> engine;
  Engine<double>::Totals totals;
};

TEST(MohStage, TheBalanceLossIsBesideTheLossAndAbsentElsewhere) {
  ModelConfig heavy = tiny_moh(kMoh), none = heavy, mha = heavy;
  none.attention.moh->balance_weight = 0;
  mha.attention.moh.reset();
  const Trained with(heavy), without(none);
  EXPECT_EQ(with.totals.loss, without.totals.loss);
  EXPECT_EQ(without.totals.aux_loss, 0);
  EXPECT_FALSE(Trained(mha).totals.aux_loss);
  // Routers as they start are almost indifferent: P is nearly (1/2, 1/2) and f sums to 1, whatever the loads.
  EXPECT_NEAR(*with.totals.aux_loss, kMoh.balance_weight * 0.5, 0.1);
}

// The gradients' scale is half as large with two micro-batches, the losses' mean is the same.
TEST(MohStage, TheAuxiliaryLossAddsUpOverBatchesAndDoesNotDependOnTheScale) {
  const Trained once(tiny_moh(kMoh)), twice(tiny_moh(kMoh), 2);
  EXPECT_EQ(*once.totals.aux_loss, *twice.totals.aux_loss);
}

std::string moh(const std::string& keys, const std::string& also = "") {
  return R"({"model":{"attention":{"kind":"moh",)" + also + R"("moh":{"n_shared_head":4,"top_k":6)" + keys +
         "}}}}";
}

class MohConfigs : public ConfigFile {};

TEST_F(MohConfigs, AreReadAndWrittenWhole) {
  const Config config = load(patched(moh(R"(,"balance_weight":0.5,"gates":"paper")")));
  EXPECT_EQ(config.model.attention.moh, (MohConfig{4, 6, 0.5, MohGates::paper}));
  EXPECT_EQ(config.model.attention.projection, ProjectionConfig(GqaConfig{12}));
  EXPECT_EQ(load(to_json(config)), config) << to_json(config);
  const Config plain = load(patched(moh("")));
  EXPECT_EQ(plain.model.attention.moh, (MohConfig{4, 6, 0.01, MohGates::authors}));
  const Config composed = load(patched(
      R"({"model":{"attention":{"kind":"gqa","n_kv_head":3,"moh":{"n_shared_head":0,"top_k":12}}}})"));
  EXPECT_EQ(composed.model.attention.moh->top_k, 12);
  EXPECT_EQ(load(to_json(composed)), composed);
}

TEST_F(MohConfigs, RefusalsNameWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {R"({"model":{"attention":{"kind":"moh"}}})", "model.attention.moh is missing; wanted an object"},
      {R"({"model":{"attention":{"moh":{"n_shared_head":4,"top_k":6}}}})",
       R"(for mha with routed heads set kind to "moh")"},
      {moh(R"(,"n_shared":2)"), "unknown key model.attention.moh.n_shared; did you mean n_shared_head"},
      {moh(R"(,"top_k":null)"), "model.attention.moh.top_k is missing; wanted an integer from 1"},
      {moh(R"(,"top_k":9)"), "model.attention.moh.top_k: wanted at most n_head - n_shared_head (8), got 9"},
      {moh(R"(,"n_shared_head":12)"), "wanted at most n_head - n_shared_head (0), got 6"},
      {moh(R"(,"n_shared_head":-1)"), "model.attention.moh.n_shared_head: wanted an integer from 0"},
      {moh(R"(,"balance_weight":-1)"), "model.attention.moh.balance_weight: wanted a number from 0"},
      {moh(R"(,"gates":"unit")"), R"(model.attention.moh.gates: wanted one of "paper", "authors")"},
      {moh("", R"("n_kv_head":2,)"), R"(model.attention.n_kv_head: belongs to kind "gqa")"},
  };
  for (const auto& [patch, phrase] : rows) {
    SCOPED_TRACE(patch);
    expect_contains(refusal_of([&, text = patched(patch)] { load(text); }), phrase);
  }
}

}  // namespace
}  // namespace saslm
