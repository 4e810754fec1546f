// Multiple-head embeddings: their models under the checks of every variant, their config, their tensors.
#include "model/transformer.h"
#include "tests/config/config_files.h"
#include "tests/model/whole_model.h"

namespace saslm {
namespace {

ModelConfig tiny_mhe(MheForm form) {
  ModelConfig model = tiny(AttentionKind::mhe);
  model.attention.n_head = 3;
  model.attention.projection = MheConfig{form};
  return model;
}

std::vector<ModelCase> mhe_cases() {
  std::vector<ModelCase> all{{"mhe_add", tiny_mhe(MheForm::add)}, {"mhe_mul", tiny_mhe(MheForm::mul)}};

  ModelCase odd{"mhe_mul_learned_bias_odd", tiny_mhe(MheForm::mul)};
  odd.model.attention.position = PositionKind::learned;
  odd.model.attention.head_dim = 5;
  odd.model.bias = true;
  all.push_back(odd);

  const auto simulated = [&](const char* name, MheForm form, const SasConfig& sas) {
    all.push_back({name, tiny_mhe(form)});
    all.back().model.attention.sas = sas;
  };
  simulated("mhe_add_sas", MheForm::add, {.n_sim_head = 6, .sim_head_dim = 6, .kernel_size = 3});
  simulated("mhe_mul_sas_without_values", MheForm::mul,
            {.n_sim_head = 6, .sim_head_dim = 6, .kernel_size = 3, .values = false});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Mhe, WholeModel, testing::ValuesIn(mhe_cases()), name_of_case);

TEST(MheProjection, DeclaresTheTensorsOfTheDecisions) {
  ModelConfig model = tiny_mhe(MheForm::add);
  model.bias = true;  // of the mlp: the attention has none
  Layout<float> layout(Mode::infer);
  const Transformer<float> transformer(layout, model, {1, 4});
  std::map<std::string, std::vector<int64_t>> got;
  for (const ParamSpec& spec : layout.params())
    if (spec.name.starts_with("layers.0.attn.")) got[spec.name.substr(14)] = spec.shape;
  const std::map<std::string, std::vector<int64_t>> wanted = {
      {"q.weight", {4, 6}},       {"k.weight", {4, 6}},       {"v.weight", {4, 6}},
      {"q_embed.weight", {3, 4}}, {"k_embed.weight", {3, 4}}, {"v_embed.weight", {3, 4}},
      {"o.weight", {6, 3 * 4}}};
  EXPECT_EQ(got, wanted);
}

TEST(MheProjection, CountsItsMultiplyAdds) {
  for (const MheForm form : {MheForm::add, MheForm::mul}) {
    Layout<float> layout(Mode::infer);
    const Transformer<float> transformer(layout, tiny_mhe(form), {1, 4});
    const double linears = 3 * 4 * 6 + 6 * 12;
    EXPECT_EQ(transformer.macs(8).attention, 2 * (linears + 3 * (4 + 4) * 8 / 2.0));
  }
}

std::string mhe(const std::string& keys, const std::string& also = "") {
  return R"({"model":{"attention":{"kind":"mhe",)" + also + R"("mhe":{)" + keys + "}}}}";
}

class MheConfigs : public ConfigFile {};

TEST_F(MheConfigs, AreReadAndWrittenWhole) {
  for (const auto& [word, form] : {std::pair{"add", MheForm::add}, {"mul", MheForm::mul}}) {
    const Config config = load(patched(mhe(R"("form":")" + std::string(word) + "\"")));
    EXPECT_EQ(config.model.attention.projection, ProjectionConfig(MheConfig{form}));
    EXPECT_EQ(load(to_json(config)), config) << to_json(config);
  }
  const Config composed =
      load(patched(mhe(R"("form":"mul")", R"("sas":{"n_sim_head":24,"sim_head_dim":12},)")));
  EXPECT_EQ(composed.model.attention.rotated_width(), 12);
}

TEST_F(MheConfigs, RefusalsNameWhatIsWrong) {
  const std::string add = R"("form":"add")";
  const std::vector<std::pair<std::string, std::string>> rows = {
      {R"({"model":{"attention":{"kind":"mhe"}}})", "model.attention.mhe is missing; wanted an object"},
      {mhe(""), R"(model.attention.mhe.form is missing; wanted one of "add", "mul")"},
      {mhe(R"("form":"times")"), R"(model.attention.mhe.form: wanted one of "add", "mul")"},
      {mhe(R"("forms":"add")"), "unknown key model.attention.mhe.forms; did you mean"},
      {mhe(add, R"("head_dim":7,)"), "model.attention.head_dim: wanted an even number"},
      {mhe(add, R"("head_dim":null,)"), "model.attention.head_dim is missing"},
      {mhe(add, R"("n_kv_head":2,)"), R"(model.attention.n_kv_head: belongs to kind "gqa")"},
      {mhe(add, R"("tpa":{},)"), "model.attention.tpa: belongs to the kind of the same name"},
      {R"({"model":{"attention":{"mhe":{}}}})", "model.attention.mhe: belongs to the kind of the same name"},
      {R"({"model":{"n_layer":4096,"d_model":1048576,"attention":{"kind":"mhe","n_head":65536,
          "mhe":{"form":"add"}}}})",
       "more than 2^40 parameters"},
  };
  for (const auto& [patch, phrase] : rows) {
    SCOPED_TRACE(patch);
    expect_contains(refusal_of([&, text = patched(patch)] { load(text); }), phrase);
  }
}

}  // namespace
}  // namespace saslm
