#include "train/compare_results.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"

namespace saslm {
namespace {

using nlohmann::json;

constexpr std::array kBudgets = {Budget::tokens, Budget::flops, Budget::seconds};

const char* words_of(Budget budget) {
  return budget == Budget::tokens ? "tokens" : budget == Budget::flops ? "FLOPs" : "training time";
}

// Of one step; nothing when it is not known yet.
std::optional<double> cost_of_step(Budget budget, const VariantPlan& plan, const VariantResult& result) {
  switch (budget) {
    case Budget::tokens:
      return double(plan.plan.tokens_per_step);
    case Budget::flops:
      return double(plan.plan.tokens_per_step) * plan.plan.flops_per_token;
    case Budget::seconds:
      if (result.median_step_ms) return *result.median_step_ms / 1e3;
  }
  return {};
}

void summarise_runs(VariantResult& result) {
  std::vector<double> losses, ppls, step_ms;
  for (const RunRecord& run : result.runs) {
    step_ms.insert(step_ms.end(), run.step_ms.begin(), run.step_ms.end());
    if (!run.finished()) continue;
    losses.push_back(run.final_loss());
    ppls.push_back(std::exp(run.final_loss()));
  }
  result.loss = summarise(losses);
  result.ppl = summarise(ppls);
  if (!step_ms.empty()) result.median_step_ms = median(std::move(step_ms));
}

// Where a variant's runs are read, in steps; nothing when that cannot be told.
struct Place {
  double step = 0;
  bool at_end = true;
};
std::optional<Place> place_of(const CompareResults& results, Budget budget, size_t v) {
  const double steps = double(results.plan.variants[v].config.train.steps);
  if (budget == results.plan.budget) return Place{steps, true};
  const auto cost = cost_of_step(budget, results.plan.variants[v], results.variants[v]);
  const auto common = results.common[size_t(budget)];
  if (!cost || !common) return {};
  const double step = *common / *cost;
  // Steps are whole, so a budget is met to within half of one.
  return step > steps - 0.75 ? Place{steps, true} : Place{step, false};
}

std::optional<double> loss_at(const RunRecord& run, const std::optional<Place>& place) {
  if (!run.finished() || !place) return {};
  return place->at_end ? run.final_loss() : interpolate(run.evals, place->step);
}

Reading read_at(const CompareResults& results, Budget budget, size_t v) {
  const size_t b = results.plan.baseline;
  const auto place = place_of(results, budget, v), base_place = place_of(results, budget, b);
  Reading reading{.at_end = (!place || place->at_end) && (!base_place || base_place->at_end)};
  std::vector<double> losses;
  std::vector<LossPair> pairs;
  for (size_t s = 0; s < results.plan.seeds.size(); ++s) {
    const auto loss = loss_at(results.variants[v].runs[s], place);
    const auto base_loss = loss_at(results.variants[b].runs[s], base_place);
    if (loss) losses.push_back(*loss);
    if (loss && base_loss && v != b) pairs.push_back({*loss, *base_loss});
  }
  reading.loss = summarise(losses);
  reading.difference = paired_difference(pairs);
  return reading;
}

std::string seeds_of(const CompareResults& results, size_t v, RunRecord::Status status) {
  std::string list;
  for (size_t s = 0; s < results.plan.seeds.size(); ++s)
    if (results.variants[v].runs[s].status == status)
      list += (list.empty() ? "" : ", ") + std::to_string(results.plan.seeds[s]);
  return list;
}

std::string sentence_of(const CompareResults& results, size_t v) {
  const std::string& name = results.plan.variants[v].name;
  const Budget budget = results.plan.budget;
  std::string text = v == results.plan.baseline
                         ? name + " is the baseline."
                         : claim(name, results.plan.base().name,
                                 results.variants[v].at[size_t(budget)].difference, words_of(budget));
  if (const auto diverged = seeds_of(results, v, RunRecord::Status::diverged); !diverged.empty())
    text += " It diverged with seed " + diverged + ", which no mean or difference includes.";
  const int64_t waiting = results.variants[v].count(RunRecord::Status::missing) +
                          results.variants[v].count(RunRecord::Status::partial);
  if (waiting > 0) text += " Runs still to be done: " + std::to_string(waiting) + ".";
  return text;
}

int64_t step_of(const json& event) {
  const json& step = event.at("step");
  if (!step.is_number_unsigned() || step.get<uint64_t>() >= uint64_t(std::numeric_limits<int64_t>::max()))
    throw DataError("\"step\" is no number of steps");
  return step.get<int64_t>();
}

}  // namespace

const char* name_of(RunRecord::Status status) {
  constexpr std::array kWords = {"missing", "partial", "finished", "diverged"};
  return kWords.at(size_t(status));
}

RunRecord read_run(const std::string& metrics, const TrainConfig& train) {
  RunRecord run;
  int64_t refused_in_row = 0;
  bool ended = false, last_eval_finite = false;
  for (size_t at = 0, end; (end = metrics.find('\n', at)) != std::string::npos; at = end + 1) {
    const json event =
        json::parse(metrics.begin() + int64_t(at), metrics.begin() + int64_t(end), nullptr, false);
    const bool torn = metrics.find('\0', at) < end;  // by a power cut; the library takes it for the end
    if (torn || !event.is_object()) continue;
    run.status = RunRecord::Status::partial;
    const std::string kind = event.value("event", "");
    if (kind == "step") {
      run.steps_done = step_of(event) + 1;
      run.step_ms.push_back(event.at("step_ms").get<double>());
      refused_in_row = event.contains("skipped") ? refused_in_row + 1 : 0;
    } else if (kind == "eval") {
      last_eval_finite = event.at("val_loss").is_number();
      if (last_eval_finite) run.evals.emplace_back(double(step_of(event)), event.at("val_loss"));
    } else if (kind == "end") {
      ended = event.at("step") == train.steps;
    }
  }
  if (ended)
    run.status = last_eval_finite ? RunRecord::Status::finished : RunRecord::Status::diverged;
  else if (refused_in_row >= train.max_bad_steps)
    run.status = RunRecord::Status::diverged;
  return run;
}

int64_t VariantResult::count(RunRecord::Status status) const {
  return std::count_if(runs.begin(), runs.end(), [&](const RunRecord& run) { return run.status == status; });
}

int64_t CompareResults::count(RunRecord::Status status) const {
  int64_t total = 0;
  for (const VariantResult& variant : variants) total += variant.count(status);
  return total;
}

bool CompareResults::complete() const {
  return count(RunRecord::Status::missing) + count(RunRecord::Status::partial) == 0;
}

std::string run_name(const VariantPlan& variant, uint64_t seed) {
  return variant.name + "_seed" + std::to_string(seed);
}

CompareResults compile_results(const ComparePlan& plan, const std::vector<std::vector<RunRecord>>& runs) {
  CompareResults results{.plan = plan};
  for (const auto& of_variant : runs) {
    VariantResult result{.runs = of_variant};
    summarise_runs(result);
    results.variants.push_back(std::move(result));
  }
  for (const Budget budget : kBudgets) {
    std::optional<double>& common = results.common[size_t(budget)];
    for (size_t v = 0; v < plan.variants.size(); ++v) {
      const auto cost = cost_of_step(budget, plan.variants[v], results.variants[v]);
      if (results.variants[v].loss.n == 0 || !cost) continue;
      const double total = *cost * double(plan.variants[v].config.train.steps);
      common = common ? std::min(*common, total) : total;
    }
  }
  for (size_t v = 0; v < plan.variants.size(); ++v) {
    for (const Budget budget : kBudgets) results.variants[v].at[size_t(budget)] = read_at(results, budget, v);
    results.variants[v].sentence = sentence_of(results, v);
  }
  return results;
}

CompareResults read_results(const ComparePlan& plan, const std::string& dir) {
  std::vector<std::vector<RunRecord>> runs;
  for (const VariantPlan& variant : plan.variants) {
    runs.emplace_back();
    for (const uint64_t seed : plan.seeds) {
      const std::string path = dir + "/runs/" + run_name(variant, seed) + "/metrics.jsonl";
      const auto refuse = [&](const std::exception& error) {
        throw DataError(path + " holds events that are not a run's: " + error.what() +
                        "; move the run's folder away to train it again");
      };
      try {
        runs.back().push_back(
            read_run(path_exists(path) ? read_file(path, kAnySize) : "", variant.config.train));
      } catch (const json::exception& error) {
        refuse(error);
      } catch (const DataError& error) {
        refuse(error);
      }
    }
  }
  return compile_results(plan, runs);
}

}  // namespace saslm
