// Every kind of attention and every stage that the program knows (config's kinds, model/stages.h) has its
// twins: in the exported class, among the golden models and in their script, in the bench's descriptions, on
// the page of variants. What is missing is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "bench/recording.h"
#include "model/stages.h"
#include "train/plan.h"

namespace saslm {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

const fs::path kRoot = SASLM_ROOT_DIR;

std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(kRoot / path).rdbuf();
  return text.str();
}

nlohmann::json attention_schema() {
  return nlohmann::json::parse(
      config_schema())["properties"]["model"]["properties"]["attention"]["properties"];
}

// What the file quotes from "NAME = " to the bracket's end: the keys of a dict, or a list's words.
Words quoted_in(const fs::path& path, const std::string& name) {
  const std::string text = text_of(path);
  const size_t begin = text.find("\n" + name + " = ");
  if (begin == std::string::npos) return {};
  const std::string part = text.substr(begin, text.find_first_of("]}", begin) - begin);
  Words words;
  const std::regex quoted("\"(\\w+)\"");
  for (std::sregex_iterator at(part.begin(), part.end(), quoted), end; at != end; ++at)
    words.push_back((*at)[1]);
  return words;
}

bool has(const Words& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// The golden models' attention blocks.
const std::vector<nlohmann::json>& golden_attention() {
  static const std::vector<nlohmann::json> kAll = [] {
    std::vector<nlohmann::json> all;
    for (const auto& entry : fs::directory_iterator(kRoot / "tests/golden"))
      if (fs::exists(entry.path() / "config.json"))
        all.push_back(
            nlohmann::json::parse(std::ifstream(entry.path() / "config.json"))["model"]["attention"]);
    return all;
  }();
  return kAll;
}

bool any_golden(const std::function<bool(const nlohmann::json&)>& is) {
  return std::any_of(golden_attention().begin(), golden_attention().end(), is);
}

// A key that is on: neither absent nor what turns it off.
bool is_on(const nlohmann::json& attention, const std::string& key) {
  return attention.contains(key) && attention[key] != nullptr && attention[key] != false &&
         attention[key] != "none";
}

const char* const kModeling = "src/export/modeling_saslm.py";
const char* const kGolden = "scripts/make_golden.py";
const char* const kPage = "docs/variants.md";

Words missing_of_kind(const std::string& kind) {
  Words missing;
  const auto want = [&](bool there, const std::string& what) {
    if (!there) missing.push_back("kind " + kind + ": " + what);
  };
  want(has(quoted_in(kModeling, "ATTENTION"), kind), std::string("no class in ATTENTION of ") + kModeling);
  want(has(quoted_in(kGolden, "PROJECTIONS"), kind) ||
           text_of("scripts/golden/" + kind + ".py").find("def project(") != std::string::npos,
       std::string("no equations in PROJECTIONS of ") + kGolden + " or scripts/golden/" + kind + ".py");
  want(any_golden([&](const auto& a) { return a["kind"] == kind; }), "no model in tests/golden");
  want(text_of(kPage).find("\n| `" + kind + "` |") != std::string::npos, std::string("no row in ") + kPage);
  want(fs::exists(kRoot / "configs" / ("debug_cpu_" + kind + ".json")),
       "no configs/debug_cpu_" + kind + ".json");
  return missing;
}

// Of a stage with a key of its own.
Words missing_of_stage(const std::string& stage) {
  Words missing;
  const auto want = [&](bool there, const std::string& what) {
    if (!there) missing.push_back("stage " + stage + ": " + what);
  };
  const auto in_lists = [&](const char* path) {
    return has(quoted_in(path, "BEFORE_CORE"), stage) || has(quoted_in(path, "AFTER_CORE"), stage);
  };
  want(in_lists(kModeling), std::string("no class in BEFORE_CORE or AFTER_CORE of ") + kModeling);
  want(in_lists(kGolden), std::string("no equations in BEFORE_CORE or AFTER_CORE of ") + kGolden);
  want(any_golden([&](const auto& a) { return is_on(a, stage); }), "no model in tests/golden");
  want(text_of(kPage).find("\n| `" + stage + "` | all") != std::string::npos ||
           text_of(kPage).find("\n| `" + stage + "` | under") != std::string::npos,
       std::string("no row in the table of stages of ") + kPage);
  return missing;
}

// The page's "A sublayer runs in this order: `project` → `a` → ...".
Words order_on_the_page() {
  const std::string text = text_of(kPage), begin = "A sublayer runs in this order: ";
  const size_t at = text.find(begin);
  if (at == std::string::npos) return {};
  const std::string line = text.substr(at, text.find(". ", at) - at);
  Words words;
  const std::regex quoted("`(\\w+)`");
  for (std::sregex_iterator word(line.begin(), line.end(), quoted), end; word != end; ++word)
    words.push_back((*word)[1]);
  return words;
}

TEST(Completeness, EveryKindHasItsTwins) {
  const Words kinds = attention_schema()["kind"]["enum"];
  ASSERT_GE(kinds.size(), 8u);
  for (const std::string& kind : kinds) EXPECT_THAT(missing_of_kind(kind), testing::IsEmpty());
}

TEST(Completeness, EveryStageHasItsTwins) {
  const nlohmann::json schema = attention_schema();
  ASSERT_TRUE(has(stage_names(), "sas") && has(stage_names(), "moh"));
  for (const std::string& stage : stage_names())
    if (schema.contains(stage))
      EXPECT_THAT(missing_of_stage(stage), testing::IsEmpty());
    else
      EXPECT_EQ(stage, "mean") << "a stage without a key of its own, which SAS brings";
}

TEST(Completeness, ThePageHasTheStagesInTheirOrder) {
  Words wanted = {"project"};
  const auto add = [&]<class... S>(StageList<S...>) { (wanted.push_back(S::kName), ...); };
  add(StagesBeforeCore<float>());
  wanted.push_back("core");
  add(StagesAfterCore<float>());
  EXPECT_EQ(order_on_the_page(), wanted) << kPage;
}

TEST(Completeness, WhatIsMissingIsNamed) {
  using testing::HasSubstr;
  const auto& kind = missing_of_kind("foo");
  EXPECT_THAT(
      kind, testing::ElementsAre(HasSubstr("kind foo: no class in ATTENTION of src/export/modeling_saslm.py"),
                                 HasSubstr("kind foo: no equations in PROJECTIONS of scripts/make_golden.py"),
                                 HasSubstr("kind foo: no model in tests/golden"),
                                 HasSubstr("kind foo: no row in docs/variants.md"),
                                 HasSubstr("kind foo: no configs/debug_cpu_foo.json")));
  EXPECT_THAT(
      missing_of_stage("bar"),
      testing::ElementsAre(HasSubstr("stage bar: no class in BEFORE_CORE or AFTER_CORE of src/export"),
                           HasSubstr("stage bar: no equations in BEFORE_CORE or AFTER_CORE of scripts"),
                           HasSubstr("stage bar: no model in tests/golden"),
                           HasSubstr("stage bar: no row in the table of stages of docs/variants.md")));
}

// "2x17x4x6": their product.
double elements_of(const std::string& shape) {
  double product = 1;
  const std::regex number("\\d+");
  for (std::sregex_iterator at(shape.begin(), shape.end(), number), end; at != end; ++at)
    product *= std::stod(at->str());
  return product;
}

// The bench's descriptions and the model's macs() are two accounts of one forward: of every golden model, and
// so of every kind and stage. What macs() counts of element-wise work, describe.h does not.
TEST(Completeness, TheBenchDescribesTheWorkThatThePlanCounts) {
  for (const auto& entry : fs::directory_iterator(kRoot / "tests/golden")) {
    if (!fs::exists(entry.path() / "config.json")) continue;
    Config config = load_config(entry.path() / "config.json");
    config.train.grad_accum = 1;
    config.train.global_batch = config.train.micro_batch;
    double described = 0;
    for (const KernelCall<float>& call : record_calls<float>({config})) {
      if (!call.op.ends_with("_fwd")) continue;
      const double gates = call.op == "head_gates_fwd" ? 2 * elements_of(call.shape) : 0;
      described += double(call.repeats[0]) * (call.flops + gates);
    }
    const double tokens = double(config.train.micro_batch * config.train.seq_len);
    EXPECT_NEAR(described / tokens / (make_plan<float>(config).flops_per_token / 3), 1, 1e-12)
        << entry.path().filename() << ": describe() of an operation and macs() of its module differ";
  }
}

}  // namespace
}  // namespace saslm
