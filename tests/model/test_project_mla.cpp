// Latent attention: its models under the checks of every variant, its config, its tensors.
#include "model/transformer.h"
#include "tests/config/config_files.h"
#include "tests/model/whole_model.h"

namespace saslm {
namespace {

ModelConfig tiny_mla() {
  ModelConfig model = tiny(AttentionKind::mla);
  model.attention.n_head = 3;
  model.attention.head_dim = 7;
  model.attention.projection = MlaConfig{.q_rank = 5, .kv_rank = 4, .nope_dim = 3, .rope_dim = 4, .v_dim = 2};
  return model;
}

std::vector<ModelCase> mla_cases() {
  std::vector<ModelCase> all{{"mla", tiny_mla()}};

  ModelCase learned{"mla_learned_layernorm_bias_odd", tiny_mla()};
  learned.model.attention.position = PositionKind::learned;
  learned.model.norm.kind = NormKind::layernorm;
  learned.model.bias = true;
  learned.model.attention.head_dim = 6;
  std::get<MlaConfig>(learned.model.attention.projection).rope_dim = 3;
  all.push_back(learned);

  const auto simulated = [&](const char* name, const SasConfig& sas) {
    all.push_back({name, tiny_mla()});
    all.back().model.attention.sas = sas;
  };
  simulated("mla_sas", {.n_sim_head = 6, .sim_head_dim = 8, .kernel_size = 3});
  simulated("mla_sas_without_values",
            {.n_sim_head = 6, .sim_head_dim = 8, .kernel_size = 3, .values = false});
  simulated("mla_sas_features_only",
            {.n_sim_head = 3, .sim_head_dim = 4, .kernel_size = 3, .heads = false, .values = false});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Mla, WholeModel, testing::ValuesIn(mla_cases()), name_of_case);

TEST(MlaProjection, DeclaresTheTensorsOfTheSpecification) {
  ModelConfig model = tiny_mla();
  model.bias = true;  // of the mlp: the attention has none
  Layout<float> layout(Mode::infer);
  const Transformer<float> transformer(layout, model, {1, 4});
  std::map<std::string, std::vector<int64_t>> got;
  for (const ParamSpec& spec : layout.params())
    if (spec.name.starts_with("layers.0.attn.")) got[spec.name.substr(14)] = spec.shape;
  const std::map<std::string, std::vector<int64_t>> wanted = {
      {"q_down.weight", {5, 6}},      {"q_norm.weight", {5}},  {"q_up.weight", {3 * 7, 5}},
      {"kv_down.weight", {4 + 4, 6}}, {"kv_norm.weight", {4}}, {"kv_up.weight", {3 * (3 + 2), 4}},
      {"o.weight", {6, 3 * 2}}};
  EXPECT_EQ(got, wanted);
}

TEST(MlaProjection, CountsItsMultiplyAdds) {
  Layout<float> layout(Mode::infer);
  const Transformer<float> transformer(layout, tiny_mla(), {1, 4});
  const double linears = 5 * 6 + 21 * 5 + 8 * 6 + 15 * 4 + 6 * 6;
  EXPECT_EQ(transformer.macs(8).attention, 2 * (linears + 3 * (7 + 2) * 8 / 2.0));
}

std::string mla(const std::string& keys, const std::string& also = "") {
  return R"({"model":{"attention":{"kind":"mla","head_dim":null,)" + also +
         R"("mla":{"q_rank":16,"kv_rank":8,"nope_dim":6,"rope_dim":4,"v_dim":8)" + keys + "}}}}";
}

class MlaConfigs : public ConfigFile {};

TEST_F(MlaConfigs, TheHeadIsAsWideAsItsParts) {
  const Config config = load(patched(mla("")));
  EXPECT_EQ(config.model.attention.head_dim, 10);
  EXPECT_EQ(config.model.attention.rotated_width(), 4);
  EXPECT_EQ(config.model.attention.projection, ProjectionConfig(MlaConfig{16, 8, 6, 4, 8}));
  EXPECT_EQ(load(to_json(config)), config) << to_json(config);
  EXPECT_EQ(load(patched(R"({"model":{"attention":{"kind":"mla","head_dim":10,
      "mla":{"q_rank":16,"kv_rank":8,"nope_dim":6,"rope_dim":4,"v_dim":8}}}})")),
            config);
}

TEST_F(MlaConfigs, WithoutItsOwnRotationAnyPartMayBeOdd) {
  EXPECT_NO_THROW(load(patched(mla(R"(,"rope_dim":3)", R"("position":"none",)"))));
  const Config simulated =
      load(patched(mla(R"(,"rope_dim":3)", R"("sas":{"n_sim_head":24,"sim_head_dim":12},)")));
  EXPECT_EQ(simulated.model.attention.rotated_width(), 12);
}

TEST_F(MlaConfigs, RefusalsNameWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {R"({"model":{"attention":{"kind":"mla"}}})", "model.attention.mla is missing; wanted an object"},
      {R"({"model":{"attention":{"kind":"mla","mla":3}}})", "model.attention.mla: wanted an object, got 3"},
      {mla(R"(,"v_dims":8)"), "unknown key model.attention.mla.v_dims; did you mean v_dim?"},
      {mla(R"(,"q_rank":null)"), "model.attention.mla.q_rank is missing; wanted an integer"},
      {mla(R"(,"q_rank":0)"), "model.attention.mla.q_rank: wanted an integer from 1"},
      {mla(R"(,"rope_dim":3)"), "model.attention.mla.rope_dim: wanted an even number"},
      {mla("", R"("n_kv_head":2,)"), R"(model.attention.n_kv_head: belongs to kind "gqa")"},
      {R"({"model":{"attention":{"mla":{"q_rank":1}}}})",
       "model.attention.mla: belongs to the kind of the same name"},
      {R"({"model":{"attention":{"kind":"mla","head_dim":8,
          "mla":{"q_rank":16,"kv_rank":8,"nope_dim":6,"rope_dim":4,"v_dim":8}}}})",
       "model.attention.head_dim: wanted mla.nope_dim + mla.rope_dim (10) or no key, got 8; remove it"},
      {mla(R"(,"q_rank":1048576,"kv_rank":1048576,"nope_dim":2048)", R"("n_head":65536,)"),
       "more than 2^40 parameters"},
  };
  for (const auto& [patch, phrase] : rows) {
    SCOPED_TRACE(patch);
    expect_contains(refusal_of([&, text = patched(patch)] { load(text); }), phrase);
  }
}

}  // namespace
}  // namespace saslm
