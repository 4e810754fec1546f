#include "compare/results.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/file.h"
#include "metrics/progress.h"

namespace saslm {
namespace {

using Status = RunRecord::Status;

const char* words_of(Budget budget) {
  return budget == Budget::tokens ? "tokens" : budget == Budget::flops ? "FLOPs" : "training time";
}

std::string speed_text(const VariantPlan& plan, double step_ms) {
  return human_count(double(plan.plan.tokens_per_step) / step_ms * 1e3);
}

// Cost of one step of a run; nullopt if unknown. Each run's own time is used, so that load on the machine
// appears as spread over seeds.
std::optional<double> cost_of_step(Budget budget, const VariantPlan& plan, const RunRecord& run) {
  const double tokens = double(plan.plan.tokens_per_step);
  if (budget == Budget::tokens) return tokens;
  if (budget == Budget::flops) return tokens * plan.plan.flops_per_token;
  if (run.speed) return run.speed->median_ms / 1e3;
  return {};
}

// ---- Speeds

void summarise_speed(VariantResult& result) {
  std::vector<double> medians;
  for (const RunRecord& run : result.runs) {
    if (!run.speed) continue;
    medians.push_back(run.speed->median_ms);
    if (!result.speeds_ms) result.speeds_ms = {run.speed->fastest_ms, run.speed->slowest_ms};
    result.speeds_ms->first = std::min({result.speeds_ms->first, run.speed->fastest_ms});
    result.speeds_ms->second = std::max({result.speeds_ms->second, run.speed->slowest_ms});
  }
  if (!medians.empty()) result.median_step_ms = median(std::move(medians));
}

// Speeds are milliseconds per step; "" if they agree.
std::string disagreement(const VariantPlan& plan, const std::string& whose, double fastest_ms,
                         double slowest_ms) {
  if (slowest_ms <= kSteadySpeeds * fastest_ms) return "";
  return whose + " went at " + speed_text(plan, slowest_ms) + " to " + speed_text(plan, fastest_ms) +
         " tokens/s, more than 10 % apart: the machine was busy";
}

// Runs of one variant are hours apart, with other variants' runs between them. If all agree, it is the
// model's speed; a single run may have been affected by load.
std::string unsteadiness(const ComparePlan& plan, const VariantPlan& variant, const VariantResult& result) {
  const bool budgeted = plan.budget == Budget::seconds && variant.tokens_per_s > 0;
  std::vector<double> ms;
  for (const RunRecord& run : result.runs) {
    if (!run.speed) continue;
    ms.push_back(run.speed->median_ms);
    if (const auto why = disagreement(variant, "parts of a run of " + variant.name, run.speed->fastest_ms,
                                      run.speed->slowest_ms);
        !why.empty())
      return why;
  }
  if (ms.empty()) return "";
  if (budgeted) {  // the number of steps was derived from it
    const auto as_ms = [&](double tokens_per_s) {
      return double(variant.plan.tokens_per_step) / tokens_per_s * 1e3;
    };
    for (const double tokens_per_s : variant.speed_rounds) ms.push_back(as_ms(tokens_per_s));
    ms.push_back(as_ms(variant.tokens_per_s));
  } else if (ms.size() < 2) {
    return "there is only one run of " + variant.name +
           ", which cannot separate the model's speed from the machine's load; add a second seed";
  }
  const auto [fastest, slowest] = std::minmax_element(ms.begin(), ms.end());
  return disagreement(variant,
                      budgeted ? "the runs of " + variant.name + ", and the speed they were budgeted by,"
                               : "the runs of " + variant.name,
                      *fastest, *slowest);
}

void summarise_runs(VariantResult& result) {
  std::vector<double> losses, ppls, bits;
  for (const RunRecord& run : result.runs) {
    if (!run.finished()) continue;
    losses.push_back(run.final_loss());
    ppls.push_back(std::exp(run.final_loss()));
    if (run.bits_per_byte) bits.push_back(*run.bits_per_byte);
  }
  result.loss = summarise(losses);
  result.ppl = summarise(ppls);
  if (bits.size() == losses.size()) result.bits_per_byte = summarise(bits);
  summarise_speed(result);
}

// ---- Losses at equal amounts

// Where on its curve a run is read.
struct CurvePoint {
  double step = 0;
  bool at_end = true;
};
// nullopt if unknown.
std::optional<CurvePoint> point_of(const CompareResults& results, Budget budget, size_t v, size_t s) {
  const VariantPlan& plan = results.plan.variants[v];
  const double steps = double(plan.config.train.steps);
  if (budget == results.plan.budget) return CurvePoint{steps, true};
  const auto cost = cost_of_step(budget, plan, results.variants[v].runs[s]);
  const auto common = results.common[size_t(budget)];
  if (!cost || !common) return {};
  const double step = *common / *cost;
  // Steps are whole, so a budget is met to within half of one.
  return step > steps - 0.75 ? CurvePoint{steps, true} : CurvePoint{step, false};
}

std::string before_first_evaluation(const CompareResults& results, size_t v, double step) {
  const int64_t first = results.plan.variants[v].config.eval.every_steps;
  return results.plan.variants[v].name + " would have to be read at step " + human_count(step) +
         ", before its first evaluation with training (step " + std::to_string(first) +
         "), where there is no curve yet; raise eval_points, or run the comparison under that budget";
}

// Why there is no figure for variant v; "" if there is one.
std::string why_no_reading(const CompareResults& results, Budget budget, size_t v) {
  const VariantResult& variant = results.variants[v];
  if (budget == Budget::seconds && !variant.unsteady.empty()) return variant.unsteady;
  for (size_t s = 0; s < variant.runs.size(); ++s) {
    if (!variant.runs[s].finished()) continue;
    const auto point = point_of(results, budget, v, s);
    if (point && !point->at_end && !read_curve(variant.runs[s].evals, point->step))
      return before_first_evaluation(results, v, point->step);
  }
  return "";
}

// Whether two seeds of one variant have the same loss: a copied run, or seeds without effect.
bool has_copies(const VariantResult& variant) {
  std::vector<double> losses;
  for (const RunRecord& run : variant.runs)
    if (run.finished()) losses.push_back(run.final_loss());
  std::sort(losses.begin(), losses.end());
  return std::adjacent_find(losses.begin(), losses.end()) != losses.end();
}

Reading read_at(const CompareResults& results, Budget budget, size_t v) {
  const size_t b = results.plan.baseline;
  Reading reading{.why_not = why_no_reading(results, budget, v)};
  if (reading.why_not.empty()) reading.why_not = why_no_reading(results, budget, b);
  std::vector<double> losses;
  std::vector<LossPair> pairs;
  for (size_t s = 0; s < results.plan.seeds.size(); ++s) {
    for (const size_t of : {v, b})
      if (const auto point = point_of(results, budget, of, s);
          point && results.variants[of].runs[s].finished())
        reading.at_end &= point->at_end;
    const auto loss = loss_of(results, budget, v, s), base_loss = loss_of(results, budget, b, s);
    if (loss) losses.push_back(*loss);
    if (loss && base_loss && v != b) pairs.push_back({*loss, *base_loss});
  }
  reading.loss = summarise(losses);
  if (!reading.why_not.empty()) return reading;
  reading.difference = paired_difference(pairs);
  reading.difference.suspicious |=
      pairs.size() > 1 && (has_copies(results.variants[v]) || has_copies(results.variants[b]));
  return reading;
}

// ---- Words

std::string seeds_of(const CompareResults& results, size_t v, Status status) {
  std::string list;
  for (size_t s = 0; s < results.plan.seeds.size(); ++s)
    if (results.variants[v].runs[s].status == status)
      list += (list.empty() ? "" : ", ") + std::to_string(results.plan.seeds[s]);
  return list;
}

std::string verdict(const CompareResults& results, size_t v) {
  const std::string &name = results.plan.variants[v].name, &base = results.plan.base().name;
  const Budget budget = results.plan.budget;
  const Reading& reading = results.variants[v].at[size_t(budget)];
  if (v == results.plan.baseline) return name + " is the baseline.";
  if (reading.why_not.empty()) return claim(name, base, reading.difference, words_of(budget));
  return "There is no result for " + name + " against " + base + " at equal " + words_of(budget) + ": " +
         reading.why_not + ".";
}

std::string sentence_of(const CompareResults& results, size_t v) {
  std::string text = verdict(results, v);
  if (const auto diverged = seeds_of(results, v, Status::diverged); !diverged.empty())
    text += " It diverged with seed " + diverged + ", excluded from all means and differences.";
  const int64_t waiting =
      results.variants[v].count(Status::missing) + results.variants[v].count(Status::partial);
  if (waiting > 0) text += " Runs still to do: " + std::to_string(waiting) + ".";
  return text;
}

// The smallest amount of all finished runs; for time, only of runs with steady speeds.
std::optional<double> common_amount(const CompareResults& results, Budget budget) {
  std::optional<double> common;
  for (size_t v = 0; v < results.variants.size(); ++v) {
    const VariantPlan& plan = results.plan.variants[v];
    if (budget == Budget::seconds && !results.variants[v].unsteady.empty()) continue;
    for (const RunRecord& run : results.variants[v].runs) {
      const auto cost = cost_of_step(budget, plan, run);
      if (!run.finished() || !cost) continue;
      const double total = *cost * double(plan.config.train.steps);
      common = common ? std::min(*common, total) : total;
    }
  }
  return common;
}

}  // namespace

int64_t VariantResult::count(Status status) const {
  return std::count_if(runs.begin(), runs.end(), [&](const RunRecord& run) { return run.status == status; });
}

int64_t CompareResults::count(Status status) const {
  int64_t total = 0;
  for (const VariantResult& variant : variants) total += variant.count(status);
  return total;
}

bool CompareResults::complete() const {
  return count(Status::missing) + count(Status::partial) == 0;
}

std::string run_name(const VariantPlan& variant, uint64_t seed) {
  return variant.name + "_seed" + std::to_string(seed);
}

std::optional<double> loss_of(const CompareResults& results, Budget budget, size_t v, size_t s) {
  const RunRecord& run = results.variants[v].runs[s];
  const auto point = point_of(results, budget, v, s);
  if (!run.finished() || !point) return {};
  if (budget == Budget::seconds && !results.variants[v].unsteady.empty()) return {};
  return point->at_end ? run.final_loss() : read_curve(run.evals, point->step);
}

LossCurve difference_curve(const CompareResults& results, Budget budget, size_t v, size_t s) {
  const size_t b = results.plan.baseline;
  const RunRecord &run = results.variants[v].runs[s], &base = results.variants[b].runs[s];
  const auto cost = cost_of_step(budget, results.plan.variants[v], run);
  const auto base_cost = cost_of_step(budget, results.plan.variants[b], base);
  if (!run.finished() || !base.finished() || !cost || !base_cost) return {};
  if (budget == Budget::seconds && !(results.variants[v].unsteady + results.variants[b].unsteady).empty())
    return {};
  LossCurve curve;
  for (const auto& [step, loss] : run.evals) {
    const double base_step = step * *cost / *base_cost;
    if (step == 0 || base_step > base.evals.back().first * (1 + 1e-9)) continue;
    if (const auto base_loss = read_curve(base.evals, base_step))
      curve.emplace_back(step * *cost, loss - *base_loss);
  }
  return curve;
}

CompareResults compile_results(const ComparePlan& plan, const std::vector<std::vector<RunRecord>>& runs) {
  CompareResults results{.plan = plan};
  for (size_t v = 0; v < runs.size(); ++v) {
    VariantResult result{.runs = runs[v]};
    summarise_runs(result);
    result.unsteady = unsteadiness(plan, plan.variants[v], result);
    results.variants.push_back(std::move(result));
  }
  for (const Budget budget : kBudgets) results.common[size_t(budget)] = common_amount(results, budget);
  for (size_t v = 0; v < plan.variants.size(); ++v) {
    for (const Budget budget : kBudgets) results.variants[v].at[size_t(budget)] = read_at(results, budget, v);
    results.variants[v].sentence = sentence_of(results, v);
  }
  return results;
}

RunRecord read_run_in(const std::string& dir, const VariantPlan& variant, uint64_t seed) {
  const std::string path = dir + "/runs/" + run_name(variant, seed) + "/metrics.jsonl";
  return read_run(path_exists(path) ? read_file(path, kAnySize) : "", variant.config.train);
}

std::vector<std::vector<RunRecord>> read_runs(const ComparePlan& plan, const std::string& dir) {
  std::vector<std::vector<RunRecord>> runs;
  for (const VariantPlan& variant : plan.variants) {
    runs.emplace_back();
    for (const uint64_t seed : plan.seeds) runs.back().push_back(read_run_in(dir, variant, seed));
  }
  return runs;
}

}  // namespace saslm
