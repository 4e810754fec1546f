#include "compare/plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "config/json_text.h"
#include "core/error.h"
#include "data/text_tokenizer.h"
#include "train/run_tokenizer.h"
#include "train/trainer.h"

namespace saslm {
namespace {

using nlohmann::ordered_json;

constexpr int kRecordVersion = 1;
constexpr double kMaxSteps = 1e9;
constexpr double kSameParameters = 0.01;  // beyond this, a difference may be due to size

// Keys in which variants must agree for a fair comparison.
constexpr std::array kCommonKeys = {"/data/", "/model/vocab_size", "/train/seq_len", "/eval/max_sequences",
                                    "/runtime/"};
// Keys that do not affect results: data is compared by content.
constexpr std::array kUnrecorded = {"/data/train", "/data/val", "/data/tokenizer", "/checkpoint/",
                                    "/train/seed"};

template <class Prefixes>
bool begins_with_one_of(const std::string& key, const Prefixes& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const char* p) { return key.starts_with(p); });
}

std::string text_at(const ordered_json& flat, const std::string& key) {
  return flat.contains(key) ? flat[key].dump() : "absent";
}

ordered_json merged_keys(const ordered_json& a, const ordered_json& b) {
  ordered_json keys = a;
  keys.update(b);
  return keys;
}

void check_comparable(const VariantPlan& a, const VariantPlan& b) {
  const auto flat_a = ordered_json::parse(to_json(a.config)).flatten();
  const auto flat_b = ordered_json::parse(to_json(b.config)).flatten();
  const ordered_json keys = merged_keys(flat_a, flat_b);
  for (const auto& [key, unused] : keys.items())
    if (begins_with_one_of(key, kCommonKeys) && text_at(flat_a, key) != text_at(flat_b, key))
      throw ConfigError("variants " + a.name + " and " + b.name + " differ in " + dotted(key) + " (" +
                        text_at(flat_a, key) + " and " + text_at(flat_b, key) +
                        "), so their losses could not be compared; set it in the base");
}

// The same steps on one rank.
Config on_one_rank(Config config) {
  config.train.grad_accum *= config.train.ranks;
  config.train.ranks = 1;
  return config;
}

template <class T>
VariantPlan plan_of(const CompareFile& file, const std::string& name, Config config) {
  config.eval.every_steps = (config.train.steps + file.eval_points - 1) / file.eval_points;
  config.train.seed = file.seeds.front();
  VariantPlan variant{.name = name, .config = std::move(config)};
  variant.plan = make_plan<T>(on_one_rank(variant.config));
  for (const auto& [part, count] : variant.plan.parameters_by_part)
    if (part == "attention" || part == "sas") variant.attention_parameters += count;
  constexpr int64_t kWider = 64;  // keeps multiples that a width may need
  Config wider = on_one_rank(variant.config);
  wider.model.mlp.hidden += kWider;
  variant.parameters_per_hidden = (make_plan<T>(wider).parameters - variant.plan.parameters) / kWider;
  return variant;
}

void open_data(const Config& config, ComparePlan& plan) {
  const int64_t vocab_size = config.model.vocab_size, seq_len = config.train.seq_len;
  const TokenSet train(config.data.train, vocab_size, seq_len);
  const std::optional<TokenSet> val(std::in_place, config.data.val, vocab_size, seq_len);
  check_tokenizer(config, train, val);
  const std::string& named = config.data.tokenizer.empty() ? train.tokenizer() : config.data.tokenizer;
  if (!named.empty() && tokenizer_exists(named)) {
    const RunTokenizer run = run_tokenizer(config, train, {}, "");
    if (run.tokenizer) check_holds(*val, *run.tokenizer);
  }
  plan.train_fingerprint = train.fingerprint();
  plan.val_fingerprint = val->fingerprint();
  plan.data = "trained on " + train.description() + "; validated on " + val->description();
  const EvalSample sample = make_eval_sample(*val, config.eval.max_sequences);
  plan.data += "; an evaluation " + sample.description();
  if (sample.sequences() < sample.of()) plan.eval_sample = sample.fingerprint;
}

double default_value(Budget budget, const VariantPlan& baseline) {
  return budget == Budget::flops ? baseline.flops() : baseline.tokens();
}

}  // namespace

int64_t budget_steps(Budget budget, double value, const VariantPlan& variant) {
  double step = double(variant.plan.tokens_per_step);
  if (budget == Budget::flops) step *= variant.plan.flops_per_token;
  if (budget == Budget::seconds) {
    check(variant.tokens_per_s > 0, "the speed was measured before seconds are turned into steps");
    step /= variant.tokens_per_s;
  }
  const double steps = std::round(value / step);
  if (steps < 1 || steps > kMaxSteps)
    throw ConfigError("budget_value: " + ordered_json(value).dump() + " " + name_of(budget) + " are " +
                      ordered_json(value / step).dump() + " steps of variant " + variant.name + " (" +
                      ordered_json(step).dump() + " each); wanted from 1 to 1e9 steps");
  return int64_t(steps);
}

template <class T>
ComparePlan check_variants(const CompareFile& file, int64_t available_bytes, int sharing) {
  ComparePlan plan{.budget = file.budget,
                   .eval_points = file.eval_points,
                   .baseline = file.baseline,
                   .ranks = file.ranks,
                   .seeds = file.seeds};
  for (const CompareVariant& variant : file.variants) {
    plan.variants.push_back(plan_of<T>(file, variant.name, variant_config(file, variant)));
    const VariantPlan& planned = plan.variants.back();
    const std::string where = file.path + ": variant " + variant.name + ": ";
    if (planned.config.data.val.empty())
      throw ConfigError(where + "data.val is missing; variants are compared by validation loss");
    try {
      check_plan_fits<T>(planned.config, make_plan<T>(planned.config), available_bytes,
                         std::is_same_v<T, float>, sharing);
    } catch (const ConfigError& error) {
      throw ConfigError(where + error.what());
    }
  }
  for (const VariantPlan& variant : plan.variants) check_comparable(plan.variants.front(), variant);
  plan.budget_value = file.budget_value ? *file.budget_value : default_value(file.budget, plan.base());
  open_data(plan.base().config, plan);
  return plan;
}

template <class T>
void set_steps(const CompareFile& file, ComparePlan& plan) {
  for (size_t v = 0; v < plan.variants.size(); ++v) {
    const VariantPlan& before = plan.variants[v];
    if (plan.budget == Budget::seconds && before.tokens_per_s == 0) continue;
    const int64_t steps = budget_steps(plan.budget, plan.budget_value, before);
    VariantPlan after = plan_of<T>(file, before.name, variant_config(file, file.variants[v], steps));
    after.tokens_per_s = before.tokens_per_s;
    after.speed_rounds = before.speed_rounds;
    plan.variants[v] = std::move(after);
  }
}

std::string parameters_note(const ComparePlan& plan, size_t v) {
  const VariantPlan &variant = plan.variants[v], &base = plan.base();
  const int64_t more = variant.plan.parameters - base.plan.parameters;
  const double share = double(more) / double(base.plan.parameters);
  if (!(std::abs(share) > kSameParameters)) return "";
  char percent[16];
  std::snprintf(percent, sizeof percent, "%.1f %%", 100 * std::abs(share));
  std::string text = variant.name + " has " + percent + (more > 0 ? " more" : " fewer") +
                     " parameters than " + base.name + ": a difference in loss is partly one of size";
  if (variant.parameters_per_hidden <= 0) return text;
  const int64_t hidden = variant.config.model.mlp.hidden;
  const int64_t same = hidden - std::llround(double(more) / double(variant.parameters_per_hidden));
  if (same > 0)
    text += "; with \"model.mlp.hidden\": " + std::to_string(same) + " instead of " + std::to_string(hidden) +
            " they would match";
  return text;
}

ordered_json to_json(const ComparePlan& plan) {
  ordered_json variants = ordered_json::object();
  for (const VariantPlan& variant : plan.variants) {
    ordered_json flat;
    const ordered_json config = ordered_json::parse(to_json(on_one_rank(variant.config))).flatten();
    for (const auto& [key, value] : config.items())
      if (!begins_with_one_of(key, kUnrecorded)) flat[key] = value;
    variants[variant.name] = {{"config", flat.unflatten()}, {"tokens_per_s", variant.tokens_per_s}};
    if (!variant.speed_rounds.empty())
      variants[variant.name]["tokens_per_s_of_rounds"] = variant.speed_rounds;
  }
  ordered_json data = {{"train", plan.train_fingerprint}, {"val", plan.val_fingerprint}};
  if (!plan.eval_sample.empty()) data["eval_sample"] = plan.eval_sample;
  ordered_json record = {{"version", kRecordVersion},
                         {"budget", name_of(plan.budget)},
                         {"budget_value", plan.budget_value},
                         {"eval_points", plan.eval_points},
                         {"data", data},
                         {"seeds", plan.seeds},
                         {"variants", variants}};
  if (plan.budget == Budget::seconds) record["ranks"] = plan.ranks;  // speeds depend on it
  return record;
}

std::vector<std::string> changes_since(const ordered_json& stored, const ordered_json& now) {
  std::vector<std::string> changes;
  for (const auto& seed : stored["seeds"])
    if (std::find(now["seeds"].begin(), now["seeds"].end(), seed) == now["seeds"].end())
      changes.push_back("seeds: " + seed.dump() + " is gone");
  ordered_json before = stored, after = now;
  for (ordered_json* plan : {&before, &after}) plan->erase("seeds");
  if (after.contains("ranks") && !before.contains("ranks")) before["ranks"] = 1;
  for (const auto& [name, unused] : stored["variants"].items())
    if (!now["variants"].contains(name)) {
      changes.push_back("variants: " + name + " is gone");
      before["variants"].erase(name);
    }
  for (const auto& [name, unused] : now["variants"].items())
    if (!stored["variants"].contains(name)) after["variants"].erase(name);

  // Settings missing in an old record had their defaults.
  const ordered_json defaults = ordered_json::parse(to_json(Config{}));
  for (auto& [name, variant] : before["variants"].items()) {
    for (const char* block : {"runtime", "eval"})
      for (const auto& [key, value] : defaults[block].items())
        if (ordered_json& had = variant["config"][block]; !had.contains(key)) had[key] = value;
  }
  before = before.flatten(), after = after.flatten();
  const ordered_json keys = merged_keys(before, after);
  for (const auto& [key, unused] : keys.items())
    if (text_at(before, key) != text_at(after, key))
      changes.push_back(dotted(key) + ": " + text_at(before, key) + " before, " + text_at(after, key) +
                        " now");
  return changes;
}

template ComparePlan check_variants<float>(const CompareFile&, int64_t, int);
template ComparePlan check_variants<bf16>(const CompareFile&, int64_t, int);
template void set_steps<float>(const CompareFile&, ComparePlan&);
template void set_steps<bf16>(const CompareFile&, ComparePlan&);

}  // namespace saslm
