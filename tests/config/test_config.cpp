// What a config may say, and what comes of it.
#include <algorithm>

#include "config/fields.h"
#include "tests/config/config_files.h"

namespace saslm {
namespace {

using nlohmann::json;

const std::filesystem::path kConfigs = SASLM_CONFIGS_DIR;

class Configs : public ConfigFile {};

int64_t kv_heads(const Config& config) {
  return std::get<GqaConfig>(config.model.attention.projection).n_kv_head;
}

// Every member away from its default, as far as the checks allow.
Config unusual() {
  Config c;
  const SasConfig sas = {.n_sim_head = 6,
                         .sim_head_dim = 14,
                         .kernel_size = 7,
                         .heads = false,
                         .values = false,
                         .init = SasInit::identity,
                         .init_noise = 0.1};
  c.model = {.vocab_size = 300,
             .n_layer = 3,
             .d_model = 40,
             .max_seq_len = 20,
             .attention = {AttentionKind::gqa, 6, 10, PositionKind::learned, 5000.5, GqaConfig{3}, sas},
             .mlp = {MlpKind::relu2, 77},
             .norm = {NormKind::layernorm, 1e-6},
             .tie_embeddings = false,
             .bias = true,
             .logit_softcap = 30.5};
  c.data = {{"/a/*.bin", "/b.bin"}, {"/v.bin"}, false, "/t.json"};
  c.optim = {.lr = 0.1 + 0.2,
             .beta1 = 0.8,
             .beta2 = 0.99,
             .eps = 1e-7,
             .weight_decay = 0,
             .grad_clip = 0,
             .schedule = {ScheduleKind::wsd, 7, 0.25, 1.0 / 3}};
  c.train = {
      .steps = 11, .seq_len = 19, .micro_batch = 2, .grad_accum = 3, .global_batch = 6, .seed = ~uint64_t{0}};
  c.train.max_bad_steps = 9, c.train.spike_threshold = 6.5, c.train.spike_window = 64, c.train.z_loss = 1e-4;
  c.eval = {3, 4};
  c.checkpoint = {5, 6, 7};
  c.runtime = {DeviceKind::cuda, Precision::bf16, 8, 989.5, Recompute::block};
  return c;
}

TEST_F(Configs, TheLeastConfigGetsTheDocumentedDefaults) {
  const Config got = load(kMinimal);
  Config want;
  want.model = {.vocab_size = 256,
                .n_layer = 2,
                .d_model = 32,
                .max_seq_len = 16,
                .attention = {.n_head = 12, .head_dim = 8, .projection = GqaConfig{12}, .sas = {}},
                .mlp = {.hidden = 64},
                .norm = {}};
  want.data.train = {folder_ / "a.bin"};
  want.train.seq_len = 16;
  want.train.global_batch = 8;
  EXPECT_EQ(got, want) << to_json(got);
  EXPECT_EQ(got.optim.schedule.warmup_steps, 0);
  EXPECT_EQ(got.train.grad_accum, 1);
}

TEST_F(Configs, EveryMemberSurvivesWritingAndReading) {
  const Config config = unusual();
  EXPECT_EQ(load(to_json(config)), config) << to_json(config);
  EXPECT_EQ(to_json(config).back(), '\n');
}

TEST_F(Configs, EveryShippedConfigLoadsAndSurvivesWritingAndReading) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kConfigs)) {
    if (entry.path().extension() != ".json") continue;
    if (entry.path().filename().string().starts_with("compare_"))
      continue;  // tests/train/test_compare_file.cpp
    SCOPED_TRACE(entry.path().string());
    const Config config = load_config(entry.path());
    EXPECT_EQ(load(to_json(config)), config);
    EXPECT_EQ(load_model_config(entry.path()), config.model);
    ++count;
  }
  EXPECT_GE(count, 18);
}

// The shipped pairs differ in the attention variant and what matches its parameters, in nothing else.
TEST_F(Configs, ShippedVariantsAreComparable) {
  for (const std::string family :
       {"debug_cpu", "quickstart", "124m", "353m", "bench_cpu", "bench_cpu_small"}) {
    const Config mha = load_config(kConfigs / (family + "_mha.json"));
    for (const std::string kind : Words<AttentionKind>::all) {
      const auto file = kConfigs / (family + "_" + kind + ".json");
      if (!std::filesystem::exists(file)) continue;
      Config other = load_config(file);
      EXPECT_EQ(name_of(other.model.attention.kind), kind) << file;
      const MlaConfig* const mla = std::get_if<MlaConfig>(&other.model.attention.projection);
      EXPECT_EQ(mla != nullptr ? mla->nope_dim : other.model.attention.head_dim, mha.model.attention.head_dim)
          << file;
      other.model.attention = mha.model.attention;
      other.model.mlp.hidden = mha.model.mlp.hidden;
      EXPECT_EQ(other, mha) << file;
    }
  }
}

TEST_F(Configs, AModelBlockIsReadWithoutLookingAtTheRest) {
  write(patched(R"({"data":null,"optim":7,"whatever":{"a":1}})"));
  EXPECT_EQ(load_model_config(path()), load(kMinimal).model);
}

TEST_F(Configs, AModelBlockIsWrittenAlone) {
  const Config config = unusual();
  EXPECT_EQ(json::parse(to_json(config.model)), json::parse(to_json(config)).at("model"));
}

TEST_F(Configs, KindFixesTheKeyValueHeads) {
  EXPECT_EQ(kv_heads(load(patched(R"({"model":{"attention":{"kind":"mha"}}})"))), 12);
  EXPECT_EQ(kv_heads(load(patched(R"({"model":{"attention":{"kind":"mqa"}}})"))), 1);
  EXPECT_EQ(kv_heads(load(patched(R"({"model":{"attention":{"kind":"gqa","n_kv_head":4}}})"))), 4);
  const std::string sas = R"("sas":{"n_sim_head":24,"sim_head_dim":12})";
  EXPECT_EQ(kv_heads(load(patched(R"({"model":{"attention":{"kind":"sas",)" + sas + "}}}"))), 12);
  const Config composed = load(patched(R"({"model":{"attention":{"kind":"mqa",)" + sas + "}}}"));
  EXPECT_EQ(kv_heads(composed), 1);
  EXPECT_EQ(composed.model.attention.sas->n_sim_head, 24);
}

TEST_F(Configs, PartsThatAreNotSimulatedKeepThePlainSizes) {
  const auto simulated = [&](const std::string& keys) {
    const Config config = load(patched(R"({"model":{"attention":{"kind":"sas","sas":{)" + keys + "}}}}"));
    EXPECT_EQ(load(to_json(config)), config);
    return *config.model.attention.sas;
  };
  EXPECT_EQ(simulated(R"("simulate":["heads"],"n_sim_head":24)"),
            (SasConfig{.n_sim_head = 24, .sim_head_dim = 8, .features = false, .values = false}));
  EXPECT_EQ(simulated(R"("simulate":["features"],"sim_head_dim":12,"n_sim_head":12)"),
            (SasConfig{.n_sim_head = 12, .sim_head_dim = 12, .heads = false, .values = false}));
  EXPECT_EQ(simulated(R"("simulate":["values","heads"],"n_sim_head":24,"sim_head_dim":8)"),
            (SasConfig{.n_sim_head = 24, .sim_head_dim = 8, .features = false}));
  EXPECT_EQ(simulated(R"("n_sim_head":36,"sim_head_dim":10)"),
            (SasConfig{.n_sim_head = 36, .sim_head_dim = 10}));
}

TEST_F(Configs, OnlyRopeNeedsAnEvenWidthAndOnlyOfWhatItTurns) {
  EXPECT_NO_THROW(load(patched(R"({"model":{"attention":{"head_dim":7,"position":"learned"}}})")));
  EXPECT_NO_THROW(load(patched(R"({"model":{"attention":{"head_dim":7,"position":"none"}}})")));
  EXPECT_NO_THROW(load(patched(
      R"({"model":{"attention":{"head_dim":7,"kind":"sas","sas":{"n_sim_head":12,"sim_head_dim":10}}}})")));
}

TEST_F(Configs, AGlobalBatchDecidesTheMicroSteps) {
  const Config config = load(patched(R"({"train":{"micro_batch":4,"global_batch":32}})"));
  EXPECT_EQ(config.train.grad_accum, 8);
  EXPECT_EQ(config.train.global_batch, 32);
  EXPECT_EQ(load(patched(R"({"train":{"micro_batch":4,"grad_accum":3}})")).train.global_batch, 12);
  EXPECT_EQ(load(patched(R"({"train":{"micro_batch":4,"grad_accum":3,"global_batch":12}})")).train.grad_accum,
            3);
}

// So that a run's own config can be rerun with --set train.micro_batch alone.
TEST_F(Configs, AResolvedConfigLeavesTheGlobalBatchToItsFactors) {
  write(to_json(load(patched(R"({"train":{"micro_batch":4,"global_batch":32}})"))));
  EXPECT_EQ(load_config(path(), {"train.micro_batch=2"}).train.global_batch, 16);
}

TEST_F(Configs, PathsStartAtTheConfigsFolder) {
  const Config config = load(patched(
      R"({"data":{"train":["t/*.bin","../../up.bin","/abs/x.bin","./a/../b"],"val":"v.bin","tokenizer":"tok.json"}})"));
  const auto above = folder_.parent_path().parent_path();
  EXPECT_EQ(config.data.train, (std::vector<std::string>{folder_ / "t/*.bin", above / "up.bin", "/abs/x.bin",
                                                         folder_ / "a/../b"}));
  EXPECT_EQ(config.data.val, std::vector<std::string>{folder_ / "v.bin"});
  EXPECT_EQ(config.data.tokenizer, folder_ / "tok.json");
  EXPECT_EQ(load(patched(R"({"data":{"tokenizer":"bytes"}})")).data.tokenizer, "bytes");
}

TEST_F(Configs, TheSpellingOfTheConfigsPathDoesNotMatter) {
  const Config config = load(kMinimal);
  EXPECT_EQ(load_config(folder_ / ".." / folder_.filename() / "x.json"), config);
  EXPECT_EQ(load_config(std::filesystem::relative(path())), config);
}

TEST_F(Configs, NoValidationDataMayBeSaidInThreeWays) {
  for (const std::string keys : {"{}", R"({"data":{"val":""}})", R"({"data":{"val":[]}})"})
    EXPECT_TRUE(load(patched(keys)).data.val.empty()) << keys;
}

TEST_F(Configs, IntegersServeAsNumbers) {
  EXPECT_EQ(load(patched(R"({"optim":{"lr":1}})")).optim.lr, 1.0);
}

TEST_F(Configs, OverridesSetCreateAndReplace) {
  write(kMinimal);
  const auto with = [&](const std::vector<std::string>& overrides) { return load_config(path(), overrides); };
  EXPECT_EQ(with({"model.n_layer=5"}).model.n_layer, 5);
  EXPECT_EQ(
      with({"optim.schedule.kind=wsd", "optim.schedule.decay_fraction=0.5"}).optim.schedule.decay_fraction,
      0.5);
  EXPECT_EQ(with({"optim.lr=1", "optim.lr=2e-3"}).optim.lr, 2e-3);
  EXPECT_EQ(with({R"(model.mlp={"kind":"gelu","hidden":8})"}).model.mlp, (MlpConfig{MlpKind::gelu, 8}));
  EXPECT_EQ(with({"data.train=b=c.bin"}).data.train, std::vector<std::string>{folder_ / "b=c.bin"});
  EXPECT_EQ(with({R"(data.train=["p","q"])"}).data.train.size(), 2u);
  EXPECT_TRUE(with({"data.val=x", "data.val="}).data.val.empty());
  EXPECT_TRUE(with({"model.bias=true"}).model.bias);
}

// ---- The schema.

TEST_F(Configs, MayNameTheirSchema) {
  EXPECT_EQ(load(patched(R"({"$schema":"saslm.schema.json"})")), load(kMinimal));
}

void expect_described(const json& value, const json& schema, const std::string& path) {
  for (const auto& [key, child] : value.items()) {
    ASSERT_TRUE(schema.at("properties").contains(key)) << path << "." << key;
    const json& described = schema["properties"][key];
    EXPECT_FALSE(described.value("description", "").empty()) << path << "." << key;
    if (child.is_object()) expect_described(child, described, path + "." + key);
    if (child.is_string() && described.contains("enum")) {
      const json& words = described["enum"];
      EXPECT_NE(std::find(words.begin(), words.end(), child), words.end()) << path << "." << key;
    }
  }
}

void expect_strict(const json& schema) {
  if (!schema.contains("properties")) return;
  EXPECT_EQ(schema.at("type"), "object");
  EXPECT_EQ(schema.at("additionalProperties"), false);
  for (const json& child : schema["properties"]) expect_strict(child);
}

TEST_F(Configs, TheSchemaDescribesEveryKeyOfAResolvedConfig) {
  const json schema = json::parse(config_schema());
  EXPECT_EQ(schema.at("$schema"), "https://json-schema.org/draft/2020-12/schema");
  expect_described(json::parse(to_json(unusual())), schema, "");
  expect_strict(schema);
}

TEST_F(Configs, TheSchemaHoldsRangesDefaultsAndWhatIsRequired) {
  const json schema = json::parse(config_schema());
  EXPECT_EQ(schema.at("required"), json({"model", "data"}));
  const json& model = schema["properties"]["model"];
  EXPECT_EQ(model["required"], json({"vocab_size", "n_layer", "d_model", "max_seq_len", "attention", "mlp"}));
  const json& attention = model["properties"]["attention"];
  EXPECT_EQ(attention["required"], json({"kind", "n_head"}));
  EXPECT_EQ(attention["properties"]["kind"]["enum"][0], "mha");
  EXPECT_FALSE(attention["properties"]["n_kv_head"].contains("default"));
  EXPECT_FALSE(attention["properties"]["sas"].contains("required")) << "without \"heads\" nothing is";
  EXPECT_EQ(attention["properties"]["sas"]["properties"]["simulate"]["default"],
            json({"heads", "features", "values"}));
  const json& train = schema["properties"]["train"];
  EXPECT_FALSE(train.contains("required"));
  EXPECT_EQ(train["properties"]["steps"]["default"], 1000);
  EXPECT_EQ(train["properties"]["steps"]["minimum"], 1);
  EXPECT_FALSE(train["properties"]["seq_len"].contains("default")) << "it follows from max_seq_len";
  const json& betas = schema["properties"]["optim"]["properties"]["betas"];
  EXPECT_EQ(betas["default"], json({0.9, 0.95}));
  EXPECT_EQ(betas["items"]["exclusiveMaximum"], 1.0);
}

TEST_F(Configs, TheSchemaSaysWhatEachKindWants) {
  const json schema = json::parse(config_schema());
  const json& attention = schema["properties"]["model"]["properties"]["attention"];
  json then;  // by kind
  for (const json& rule : attention["allOf"])
    then[rule["if"]["properties"]["kind"]["const"].get<std::string>()] = rule["then"];
  EXPECT_EQ(then.size(), 8u);
  EXPECT_EQ(then["gqa"]["required"], json({"head_dim", "n_kv_head"}));
  EXPECT_EQ(then["sas"]["required"], json({"head_dim", "sas"}));
  EXPECT_EQ(then["mla"]["required"], json({"mla"}));
  EXPECT_EQ(then["mha"]["properties"]["sas"], false);
  EXPECT_EQ(then["mha"]["properties"]["n_kv_head"], false);
  EXPECT_FALSE(then["gqa"]["properties"].contains("sas"));
  const json& schedule = schema["properties"]["optim"]["properties"]["schedule"]["allOf"];
  ASSERT_EQ(schedule.size(), 3u) << "all but wsd";
  for (const json& rule : schedule) {
    const json& test = rule["if"];
    EXPECT_EQ(rule["then"]["properties"]["decay_fraction"], false);
    EXPECT_EQ(test.contains("required"),
              test["properties"]["kind"]["const"] != name_of(ScheduleConfig{}.kind));
  }
}

TEST(Names, EnumeratorsHaveTheirJsonWords) {
  EXPECT_STREQ(name_of(AttentionKind::sas), "sas");
  EXPECT_STREQ(name_of(PositionKind::none), "none");
  EXPECT_STREQ(name_of(NormKind::layernorm), "layernorm");
  EXPECT_STREQ(name_of(MlpKind::relu2), "relu2");
  EXPECT_STREQ(name_of(ScheduleKind::wsd), "wsd");
}

}  // namespace
}  // namespace saslm
