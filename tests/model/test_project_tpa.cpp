// Tensor-product attention: its models under the checks of every variant, its config, its tensors.
#include "model/transformer.h"
#include "tests/config/config_files.h"
#include "tests/model/whole_model.h"

namespace saslm {
namespace {

ModelConfig tiny_tpa() {
  ModelConfig model = tiny(AttentionKind::tpa);
  model.attention.n_head = 3;
  model.attention.projection = TpaConfig{.q_rank = 4, .k_rank = 2, .v_rank = 1};
  return model;
}

std::vector<ModelCase> tpa_cases() {
  std::vector<ModelCase> all{{"tpa", tiny_tpa()}};

  ModelCase odd{"tpa_learned_bias_odd", tiny_tpa()};
  odd.model.attention.position = PositionKind::learned;
  odd.model.attention.head_dim = 5;
  odd.model.bias = true;
  all.push_back(odd);

  const auto simulated = [&](const char* name, const SasConfig& sas) {
    all.push_back({name, tiny_tpa()});
    all.back().model.attention.sas = sas;
  };
  simulated("tpa_sas", {.n_sim_head = 6, .sim_head_dim = 6, .kernel_size = 3});
  simulated("tpa_sas_without_values",
            {.n_sim_head = 6, .sim_head_dim = 6, .kernel_size = 3, .values = false});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Tpa, WholeModel, testing::ValuesIn(tpa_cases()), name_of_case);

TEST(TpaProjection, DeclaresTheTensorsOfTheSpecification) {
  ModelConfig model = tiny_tpa();
  model.bias = true;  // of the mlp: the attention has none
  Layout<float> layout(Mode::infer);
  const Transformer<float> transformer(layout, model, {1, 4});
  std::map<std::string, std::vector<int64_t>> got;
  for (const ParamSpec& spec : layout.params())
    if (spec.name.starts_with("layers.0.attn.")) got[spec.name.substr(14)] = spec.shape;
  const std::map<std::string, std::vector<int64_t>> wanted = {
      {"q_a.weight", {4 * 3, 6}}, {"q_b.weight", {4 * 4, 6}}, {"k_a.weight", {2 * 3, 6}},
      {"k_b.weight", {2 * 4, 6}}, {"v_a.weight", {3, 6}},     {"v_b.weight", {4, 6}},
      {"o.weight", {6, 3 * 4}}};
  EXPECT_EQ(got, wanted);
}

TEST(TpaProjection, CountsItsMultiplyAdds) {
  Layout<float> layout(Mode::infer);
  const Transformer<float> transformer(layout, tiny_tpa(), {1, 4});
  const double linears = 6 * 7 * (3 + 4) + 6 * 12, products = 7 * 3 * 4;
  EXPECT_EQ(transformer.macs(8).attention, 2 * (linears + products + 3 * (4 + 4) * 8 / 2.0));
}

std::string tpa(const std::string& keys, const std::string& also = "") {
  return R"({"model":{"attention":{"kind":"tpa",)" + also + R"("tpa":{"q_rank":6,"k_rank":2,"v_rank":3)" +
         keys + "}}}}";
}

class TpaConfigs : public ConfigFile {};

TEST_F(TpaConfigs, AreReadAndWrittenWhole) {
  const Config config = load(patched(tpa("")));
  EXPECT_EQ(config.model.attention.projection, ProjectionConfig(TpaConfig{6, 2, 3}));
  EXPECT_EQ(load(to_json(config)), config) << to_json(config);
  const Config composed = load(patched(tpa("", R"("sas":{"n_sim_head":24,"sim_head_dim":12},)")));
  EXPECT_EQ(composed.model.attention.rotated_width(), 12);
}

TEST_F(TpaConfigs, RefusalsNameWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {R"({"model":{"attention":{"kind":"tpa"}}})", "model.attention.tpa is missing; wanted an object"},
      {tpa(R"(,"rank":2)"), "unknown key model.attention.tpa.rank; did you mean"},
      {tpa(R"(,"k_rank":null)"), "model.attention.tpa.k_rank is missing; wanted an integer from 1"},
      {tpa(R"(,"v_rank":0)"), "model.attention.tpa.v_rank: wanted an integer from 1"},
      {tpa("", R"("head_dim":7,)"), "model.attention.head_dim: wanted an even number"},
      {tpa("", R"("head_dim":null,)"), "model.attention.head_dim is missing"},
      {tpa("", R"("n_kv_head":2,)"), R"(model.attention.n_kv_head: belongs to kind "gqa")"},
      {tpa("", R"("mla":{},)"), "model.attention.mla: belongs to the kind of the same name"},
      {R"({"model":{"attention":{"tpa":{}}}})", "model.attention.tpa: belongs to the kind of the same name"},
      {R"({"model":{"n_layer":4096,"attention":{"kind":"tpa","n_head":65536,
          "tpa":{"q_rank":4096,"k_rank":1,"v_rank":1}}}})",
       "more than 2^40 parameters"},
  };
  for (const auto& [patch, phrase] : rows) {
    SCOPED_TRACE(patch);
    expect_contains(refusal_of([&, text = patched(patch)] { load(text); }), phrase);
  }
}

}  // namespace
}  // namespace saslm
