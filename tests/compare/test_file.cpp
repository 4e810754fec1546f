// What a comparison file may say, what it is refused for, and how budgets become steps.
#include <gtest/gtest.h>

#include "compare/plan.h"
#include "core/file.h"
#include "tests/config/config_files.h"

namespace saslm {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

const std::filesystem::path kConfigs = SASLM_CONFIGS_DIR;

const std::string kBase = R"({
  "model": { "vocab_size": 32, "n_layer": 1, "d_model": 16, "max_seq_len": 8,
             "attention": { "kind": "mha", "n_head": 2, "head_dim": 8 }, "mlp": { "hidden": 16 } },
  "data": { "train": "train.bin", "val": "val.bin" },
  "train": { "steps": 10, "micro_batch": 4 } })";

const std::string kSas =
    R"({"kind":"sas","n_head":2,"head_dim":8,"sas":{"n_sim_head":4,"sim_head_dim":8,"kernel_size":3}})";

class CompareFileTest : public ConfigFile {
 protected:
  json valid() const {
    return {{"base", json::parse(kBase)},
            {"variants",
             {{{"name", "mha"}}, {{"name", "sas"}, {"set", {{"model.attention", json::parse(kSas)}}}}}},
            {"seeds", {1, 2}},
            {"budget", "tokens"}};
  }
  CompareFile read(const json& root, const std::vector<std::string>& set = {}) const {
    write(root.dump());
    return load_compare_file(path(), set);
  }
  void write_shard(const std::string& name, int64_t tokens) const {
    std::string bytes(1024 + size_t(tokens) * 2, '\0');
    const int32_t header[] = {20240520, 1, int32_t(tokens)};
    std::copy_n(reinterpret_cast<const char*>(header), sizeof header, bytes.begin());
    for (int64_t i = 0; i < tokens; ++i) bytes[1024 + size_t(i) * 2] = char(i % 32);
    atomic_write_file(folder_ / name, bytes);
  }
  ComparePlan plan(const json& root) const {
    write_shard("train.bin", 200);
    write_shard("val.bin", 100);
    const CompareFile file = read(root);
    ComparePlan plan = check_variants<float>(file, 0);
    set_steps<float>(file, plan);
    return plan;
  }
};

TEST_F(CompareFileTest, DefaultsAreTheFirstVariantAndTheBasesTokens) {
  const CompareFile file = read(valid());
  EXPECT_EQ(file.baseline, 0u);
  EXPECT_EQ(file.eval_points, 20);
  EXPECT_FALSE(file.budget_value);
  const ComparePlan p = plan(valid());
  EXPECT_EQ(p.budget_value, 10 * 4 * 8);
  for (const VariantPlan& v : p.variants) EXPECT_EQ(v.config.train.steps, 10) << v.name;
}

TEST_F(CompareFileTest, ASetReplacesTheWholeNode) {
  json root = valid();
  root["base"]["model"]["attention"]["rope_base"] = 500;
  const CompareFile file = read(root);
  const Config mha = variant_config(file, file.variants[0]), sas = variant_config(file, file.variants[1]);
  EXPECT_EQ(mha.model.attention.rope_base, 500);
  EXPECT_EQ(sas.model.attention.rope_base, 10000);  // the new node says nothing of it
  EXPECT_TRUE(sas.model.attention.sas);
}

TEST_F(CompareFileTest, ABasePathStartsFromTheFileAndDataFromTheBase) {
  make_dirs(folder_ / "sub");
  atomic_write_file(folder_ / "sub/base.json", kBase);
  json root = valid();
  root["base"] = "sub/base.json";
  const CompareFile file = read(root);
  EXPECT_EQ(variant_config(file, file.variants[0]).data.train[0], (folder_ / "sub/train.bin").string());
}

TEST_F(CompareFileTest, OverridesReachTheComparisonAndTheBase) {
  const CompareFile file = read(valid(), {"seeds=[7]", "train.steps=3", "optim.lr=0.5"});
  EXPECT_EQ(file.seeds, std::vector<uint64_t>{7});
  for (const CompareVariant& variant : file.variants) {
    EXPECT_EQ(variant_config(file, variant).train.steps, 3);
    EXPECT_EQ(variant_config(file, variant).optim.lr, 0.5);
  }
}

TEST_F(CompareFileTest, AnOverrideThatAVariantWouldNotHearOfIsRefused) {
  for (const char* set : {"model.attention.n_head=4", "model.attention={}", "model={}"})
    expect_contains(refusal_of([&] { read(valid(), {set}); }), "variant sas sets model.attention itself");
  expect_contains(refusal_of([&] { read(valid(), {"train.seed=3"}); }), "by \"seeds\"");
  expect_contains(refusal_of([&] { read(valid(), {"train.steps=3", "budget_value=100"}); }), "budget_value");
}

TEST_F(CompareFileTest, RefusalsNameThePath) {
  const struct {
    const char *patch, *phrase;
  } rows[] = {
      {R"({"variants":null,"model":{}})",
       "this is the config of a run; saslm compare takes a file with base"},
      {R"({"varients":[]})", "unknown key varients; did you mean variants?"},
      {R"({"base":null})", "base is missing"},
      {R"({"base":3})", "base: wanted a config, or the path of one, got 3"},
      {R"({"base":"nowhere.json"})", "nowhere.json: cannot open"},
      {R"({"variants":null})", "variants is missing"},
      {R"({"variants":[]})", "variants: wanted a list of at least two"},
      {R"({"variants":[{"name":"a"}]})", "variants: wanted a list of at least two"},
      {R"({"variants":[{"name":"a"},3]})", "variants[1]: wanted an object"},
      {R"({"variants":[{"name":"a"},{}]})", "variants[1].name is missing"},
      {R"({"variants":[{"name":"a"},{"name":"a"}]})", "\"a\" is taken by variants[0]"},
      {R"({"variants":[{"name":"a"},{"name":"../b"}]})",
       "variants[1].name: wanted a name of at most 64 letters"},
      {R"({"variants":[{"name":"a"},{"name":""}]})", "variants[1].name: wanted a name"},
      {R"({"variants":[{"name":"a"},{"name":".b"}]})", "variants[1].name: wanted a name"},
      {R"({"variants":[{"name":"a"},{"name":7}]})", "variants[1].name: wanted a name"},
      {R"({"variants":[{"name":"a"},{"name":"b","sett":{}}]})",
       "unknown key variants[1].sett; did you mean set?"},
      {R"({"variants":[{"name":"a"},{"name":"b","set":[]}]})", "variants[1].set: wanted an object"},
      {R"({"variants":[{"name":"a"},{"name":"b","set":{"train.seed":2}}]})", "by \"seeds\""},
      {R"({"variants":[{"name":"a"},{"name":"b","set":{"train":{}}}]})",
       "variants[1].set.train: sets train.seed"},
      {R"({"variants":[{"name":"a"},{"name":"b","set":{"train.steps":2}}]})", "follow from \"budget\""},
      {R"({"variants":[{"name":"a"},{"name":"b","set":{"eval.every_steps":2}}]})", "eval_points"},
      {R"({"variants":[{"name":"a"},{"name":"b","set":{"optim":{},"optim.lr":1}}]})",
       "optim and optim.lr overwrite each other"},
      {R"({"seeds":null})", "seeds is missing"},
      {R"({"seeds":[]})", "seeds: wanted a list of at least one"},
      {R"({"seeds":[1,2,1]})", "seeds[2]: 1 is given twice"},
      {R"({"seeds":[-1]})", "seeds[0]: wanted an integer from 0"},
      {R"({"seeds":[1.5]})", "seeds[0]: wanted an integer"},
      {R"({"baseline":"mah"})", "there is no variant \"mah\""},
      {R"({"baseline":"mah"})", "did you mean mha?"},
      {R"({"budget":null})", "budget is missing"},
      {R"({"budget":"hours"})", "budget: wanted one of \"tokens\", \"flops\", \"seconds\""},
      {R"({"budget":"seconds"})", "budget_value is missing"},
      {R"({"budget_value":0})", "budget_value: wanted a number of tokens above 0"},
      {R"({"budget_value":"1e9"})", "budget_value: wanted a number"},
      {R"({"eval_points":0})", "eval_points: wanted an integer from 1"},
  };
  for (const auto& row : rows) {
    json root = valid();
    const json patch = json::parse(row.patch);
    for (const auto& entry : patch.items()) {
      root.erase(entry.key());
      if (!entry.value().is_null()) root[entry.key()] = entry.value();
    }
    const std::string message = refusal_of([&] { read(root); });
    expect_contains(message, row.phrase);
    expect_contains(message, path());
  }
}

TEST_F(CompareFileTest, VariantsAreLoadedBeforeAnythingRuns) {
  json root = valid();
  root["variants"][1]["set"]["model.attention"]["n_heads"] = 2;
  expect_contains(refusal_of([&] { plan(root); }), "variant sas: unknown key model.attention.n_heads");
  root = valid();
  root["base"]["data"].erase("val");
  expect_contains(refusal_of([&] { plan(root); }), "data.val is missing");
  root = valid();
  root["base"]["optim"]["schedule"]["warmup_steps"] = 8;
  root["budget_value"] = 5 * 32;
  expect_contains(refusal_of([&] { plan(root); }), "optim.schedule.warmup_steps");
}

TEST_F(CompareFileTest, LossesOnDifferentThingsAreNotCompared) {
  const struct {
    const char* key;
    json value;
  } rows[] = {{"data.val", "other.bin"}, {"data.shuffle", false},   {"train.seq_len", 4},
              {"model.vocab_size", 64},  {"eval.max_sequences", 3}, {"runtime.threads", 2}};
  for (const auto& row : rows) {
    json root = valid();
    root["variants"][1]["set"][row.key] = row.value;
    expect_contains(refusal_of([&] { plan(root); }),
                    "variants mha and sas differ in " + std::string(row.key));
  }
}

TEST_F(CompareFileTest, AVariantIsWhatItIsCalled) {
  json root = valid();
  const json sas = root["variants"][1]["set"]["model.attention"];
  root["base"]["model"]["attention"] = sas;
  expect_contains(refusal_of([&] { plan(root); }), "variant mha: its model's attention is kind \"sas\"");
  for (const char* name : {"mha_of_sas", "baseline"}) {
    root["variants"][0]["name"] = name;
    root["baseline"] = name;
    EXPECT_NO_THROW(plan(root)) << name;
  }
  root["variants"][0] = {{"name", "gqa"},
                         {"set", {{"model.attention.kind", "gqa"}, {"model.attention.n_kv_head", 1}}}};
  root["baseline"] = "gqa";
  expect_contains(refusal_of([&] { plan(root); }),
                  "variant gqa: its model's attention is kind \"gqa\" with a sas block");
  root["variants"][0]["name"] = root["baseline"] = "sas";
  root["variants"][1]["name"] = "other";
  EXPECT_NO_THROW(plan(root));  // SAS over gqa is SAS
}

TEST_F(CompareFileTest, SaysWhereSizesDifferAndWhichWidthEvensThem) {
  json root = valid();
  root["variants"][1]["set"]["model.mlp.hidden"] = 64;
  const ComparePlan unlike = plan(root);
  EXPECT_EQ(parameters_note(unlike, 0), "");
  const std::string note = parameters_note(unlike, 1);
  expect_contains(note, "more parameters than mha: a difference in loss is partly one of size");
  const size_t at = note.find("\"model.mlp.hidden\": ");
  ASSERT_NE(at, std::string::npos) << note;
  root["variants"][1]["set"]["model.mlp.hidden"] = std::stoll(note.substr(at + 20));
  EXPECT_EQ(parameters_note(plan(root), 1), "") << note;
}

// ---- Budgets

VariantPlan costing(int64_t tokens_per_step, double flops_per_token, double tokens_per_s) {
  VariantPlan v{.name = "v", .tokens_per_s = tokens_per_s};
  v.plan.tokens_per_step = tokens_per_step;
  v.plan.flops_per_token = flops_per_token;
  return v;
}

TEST(BudgetSteps, AreTheNearestWholeNumber) {
  const VariantPlan v = costing(100, 7, 50);
  EXPECT_EQ(budget_steps(Budget::tokens, 1000, v), 10);
  EXPECT_EQ(budget_steps(Budget::tokens, 1049, v), 10);
  EXPECT_EQ(budget_steps(Budget::tokens, 1051, v), 11);
  EXPECT_EQ(budget_steps(Budget::flops, 7000, v), 10);  // 700 a step
  EXPECT_EQ(budget_steps(Budget::seconds, 21, v), 11);  // 2 s a step, halves up
}

TEST(BudgetSteps, NoneOrTooManyAreRefused) {
  const VariantPlan v = costing(100, 7, 50);
  expect_contains(refusal_of([&] { budget_steps(Budget::tokens, 49, v); }), "steps of variant v");
  expect_contains(refusal_of([&] { budget_steps(Budget::flops, 1e30, v); }), "wanted from 1 to 1e9 steps");
}

TEST_F(CompareFileTest, EqualFlopsGiveTheCostlierVariantFewerSteps) {
  json root = valid();
  root["budget"] = "flops";
  const ComparePlan p = plan(root);
  EXPECT_EQ(p.variants[0].config.train.steps, 10);
  EXPECT_LT(p.variants[1].config.train.steps, 10);
  EXPECT_NEAR(p.variants[1].flops(), p.variants[0].flops(),
              0.5 * p.variants[1].flops() / double(p.variants[1].config.train.steps));
}

TEST_F(CompareFileTest, EvaluationsAreSpacedOverTheRun) {
  json root = valid();
  root["eval_points"] = 4;
  for (const VariantPlan& v : plan(root).variants) EXPECT_EQ(v.config.eval.every_steps, 3);  // 0 3 6 9 10
}

TEST_F(CompareFileTest, APartOfTheDataIsOnRecordAndEverythingIsNot) {
  json root = valid();
  const ComparePlan all = plan(root);
  root["base"]["eval"]["max_sequences"] = 5;
  const ComparePlan part = plan(root);
  EXPECT_NE(all.data.find("an evaluation reads all 12 sequences"), std::string::npos) << all.data;
  EXPECT_NE(part.data.find("an evaluation reads 5 of 12 sequences"), std::string::npos) << part.data;
  EXPECT_FALSE(to_json(all)["data"].contains("eval_sample"));
  // As one from before samples were spread, when they were the first ones.
  ordered_json before = to_json(part);
  before["data"].erase("eval_sample");
  const auto changes = changes_since(before, to_json(part));
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].find("data.eval_sample: absent before"), 0u) << changes[0];
}

// ---- A later start

TEST_F(CompareFileTest, TheSameComparisonIsNoChangeAndSeedsAndVariantsMayBeAdded) {
  const ordered_json before = to_json(plan(valid()));
  json root = valid();
  EXPECT_TRUE(changes_since(before, to_json(plan(root))).empty());
  root["seeds"] = {3, 2, 1};
  const json added = {{"name", "new"}, {"set", {{"optim.lr", 0.1}}}};
  root["variants"].insert(root["variants"].begin(), added);
  root["baseline"] = "mha";
  EXPECT_TRUE(changes_since(before, to_json(plan(root))).empty());
  root["baseline"] = "sas";
  EXPECT_TRUE(changes_since(before, to_json(plan(root))).empty());
}

TEST_F(CompareFileTest, ARecordFromBeforeASettingMeansItsDefault) {
  ordered_json before = to_json(plan(valid()));
  for (const char* name : {"mha", "sas"})
    for (const char* key : {"recompute", "matmul", "comm_timeout_s", "zero_stage", "gradient_sum"})
      before["variants"][name]["config"]["runtime"].erase(key);
  json root = valid();
  EXPECT_TRUE(changes_since(before, to_json(plan(root))).empty());
  root["base"]["runtime"]["recompute"] = "block";
  EXPECT_EQ(changes_since(before, to_json(plan(root))).front(),
            "variants.mha.config.runtime.recompute: \"none\" before, \"block\" now");
}

TEST_F(CompareFileTest, OtherRanksAreNoChangeButForMeasuredSpeeds) {
  json root = valid();
  root["base"]["train"] = {{"steps", 10}, {"micro_batch", 2}, {"global_batch", 4}};
  const auto on_ranks = [&](int64_t ranks) {
    write_shard("train.bin", 200);
    write_shard("val.bin", 100);
    CompareFile file = read(root);
    file.ranks = ranks;
    ComparePlan p = check_variants<float>(file, 0);
    for (VariantPlan& variant : p.variants) variant.tokens_per_s = 100;
    set_steps<float>(file, p);
    EXPECT_EQ(p.variants[0].config.train.ranks, ranks);
    EXPECT_EQ(p.variants[0].config.train.grad_accum, 2 / ranks);
    return p;
  };
  const ComparePlan one = on_ranks(1), two = on_ranks(2);
  EXPECT_EQ(changes_since(to_json(one), to_json(two)), std::vector<std::string>());
  EXPECT_EQ(one.variants[1].plan.arena_bytes, two.variants[1].plan.arena_bytes);
  root["budget"] = "seconds", root["budget_value"] = 1;
  EXPECT_EQ(changes_since(to_json(on_ranks(1)), to_json(on_ranks(2))).front(), "ranks: 1 before, 2 now");
}

TEST_F(CompareFileTest, AComparisonIsToldFromARun) {
  write(valid().dump());
  EXPECT_TRUE(is_compare_file(path()));
  write(kBase);
  EXPECT_FALSE(is_compare_file(path()));
  write("{}");
  EXPECT_FALSE(is_compare_file(path()));
  write("[");
  expect_contains(refusal_of([&] { is_compare_file(path()); }), path());
}

TEST_F(CompareFileTest, EveryOtherChangeIsNamed) {
  const ordered_json before = to_json(plan(valid()));
  const auto change_of = [&](const json& root) {
    const auto changes = changes_since(before, to_json(plan(root)));
    return changes.empty() ? "" : changes.front();
  };
  json root = valid();
  root["variants"][1]["set"]["optim.lr"] = 0.25;
  EXPECT_EQ(change_of(root), "variants.sas.config.optim.lr: 0.0006 before, 0.25 now");
  root = valid();
  root["base"]["train"]["steps"] = 11;
  EXPECT_EQ(change_of(root), "budget_value: 320.0 before, 352.0 now");
  root = valid();
  root["seeds"] = {1, 3};
  EXPECT_EQ(change_of(root), "seeds: 2 is gone");
  root = valid();
  root["variants"][1]["name"] = "sas2";
  EXPECT_EQ(change_of(root), "variants: sas is gone");
  root = valid();
  root["budget"] = "flops";
  EXPECT_EQ(change_of(root), "budget: \"tokens\" before, \"flops\" now");
}

TEST_F(CompareFileTest, OtherDataInTheSameFileIsAChange) {
  const ordered_json before = to_json(plan(valid()));
  write_shard("val.bin", 90);
  const CompareFile file = read(valid());
  ComparePlan p = check_variants<float>(file, 0);
  set_steps<float>(file, p);
  const auto changes = changes_since(before, to_json(p));
  ASSERT_EQ(changes.size(), 1u);
  expect_contains(changes[0], "data.val");
}

TEST(ShippedComparisons, Load) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kConfigs)) {
    if (!entry.path().filename().string().starts_with("compare_")) continue;
    const CompareFile file = load_compare_file(entry.path());
    for (const CompareVariant& variant : file.variants)
      EXPECT_NO_THROW(variant_config(file, variant)) << entry;
    ++count;
  }
  EXPECT_GE(count, 5);
}

// Variants of these are the shipped configs of their name.
TEST(ShippedComparisons, AreOfTheShippedConfigs) {
  for (const auto& [name, family] :
       {std::pair{"compare_debug.json", "debug_cpu_"}, {"compare_quickstart.json", "quickstart_"}}) {
    const CompareFile file = load_compare_file(kConfigs / name);
    for (const CompareVariant& variant : file.variants) {
      const Config alone = load_config(kConfigs / (family + variant.name + ".json"));
      ModelConfig model = variant_config(file, variant).model;
      if (model.attention.sas) model.attention.sas->init = alone.model.attention.sas->init;
      EXPECT_EQ(model, alone.model) << name << ": " << variant.name;
    }
  }
}

}  // namespace
}  // namespace saslm
