#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/print_json.h"
#include "app/print_plans.h"
#include "app/terminal.h"
#include "compare/text.h"
#include "metrics/progress.h"

namespace saslm {
namespace {

// For the requested number of ranks.
Planned planned(const VariantPlan& variant, const std::string& path) {
  return {path, variant.config, plan_for(variant.config), variant.name};
}

// With a budget of seconds and no measured speed, steps are the base's.
bool has_steps(const ComparePlan& plan, const VariantPlan& variant) {
  return plan.budget != Budget::seconds || variant.tokens_per_s > 0;
}

nlohmann::ordered_json comparison_json(const ComparePlan& plan, const std::string& path) {
  nlohmann::ordered_json j = {{"comparison", path},
                              {"budget", name_of(plan.budget)},
                              {"budget_value", plan.budget_value},
                              {"baseline", plan.base().name},
                              {"seeds", plan.seeds},
                              {"runs", plan.seeds.size() * plan.variants.size()},
                              {"data", plan.data},
                              {"plans", nlohmann::ordered_json::array()}};
  for (const VariantPlan& variant : plan.variants) {
    nlohmann::ordered_json one = {{"variant", variant.name}};
    one.update(as_json(planned(variant, path)));
    if (!has_steps(plan, variant))
      for (const char* key : {"steps", "tokens_total"}) one[key] = nullptr;
    j["plans"].push_back(std::move(one));
  }
  return j;
}

void print_heading(const ComparePlan& plan) {
  std::string seeds;
  for (const uint64_t seed : plan.seeds) seeds += (seeds.empty() ? "" : ", ") + std::to_string(seed);
  const std::string value = plan.budget == Budget::seconds
                                ? human_duration(plan.budget_value) + " of training"
                            : plan.budget == Budget::flops ? human_count(plan.budget_value) + " FLOPs"
                                                           : human_count(plan.budget_value) + " tokens";
  const size_t runs = plan.seeds.size() * plan.variants.size();
  print("comparison: %zu variants under one budget, %s per run; seeds %s: %zu runs; baseline %s\n",
        plan.variants.size(), value.c_str(), seeds.c_str(), runs, plan.base().name.c_str());
  print("data: %s\n", one_line(plan.data).c_str());
  for (size_t v = 0; v < plan.variants.size(); ++v)
    if (const std::string note = parameters_note(plan, v); !note.empty())
      print("note: %s\n", one_line(note).c_str());
  for (const VariantPlan& variant : plan.variants)
    if (!has_steps(plan, variant)) {
      print("steps, tokens and FLOPs per run depend on speeds, which are measured at the start\n");
      break;
    }
}

}  // namespace

void print_comparison(const ComparePlan& plan, const std::string& path, const PrintPlans& how) {
  if (how.json) return print_json(comparison_json(plan, path), 2);
  print_heading(plan);
  std::vector<Planned> plans;
  for (const VariantPlan& variant : plan.variants) plans.push_back(planned(variant, path));
  std::rotate(plans.begin(), plans.begin() + int64_t(plan.baseline),
              plans.begin() + int64_t(plan.baseline) + 1);
  print_text(plans, how.buffers);
}

}  // namespace saslm
