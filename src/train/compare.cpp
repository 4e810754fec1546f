#include "train/compare.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "train/compare_report.h"
#include "train/time_steps.h"

namespace saslm {
namespace {

using nlohmann::ordered_json;

// Rounds over all variants, so that a machine that slows down for a while slows all of them.
constexpr int kSpeedRounds = 3;
constexpr int64_t kSpeedWarmup = 2, kSpeedSteps = 3;
constexpr double kSpeedSeconds = 0.7;  // per round and variant

std::string record_path(const std::string& dir) {
  return dir + "/comparison.json";
}

bool is_record(const ordered_json& record) {
  const auto is_variant = [](const ordered_json& variant) {
    const auto at = [&](const ordered_json::json_pointer& path) {
      return variant.contains(path) ? variant[path] : ordered_json();
    };
    return at(ordered_json::json_pointer("/config/runtime")).is_object() &&
           at(ordered_json::json_pointer("/tokens_per_s")).is_number();
  };
  return record.is_object() && record.contains("version") && record.contains("seeds") &&
         record.contains("variants") && record["variants"].is_object() &&
         std::all_of(record["variants"].begin(), record["variants"].end(), is_variant);
}

ordered_json read_record(const std::string& dir) {
  const std::string path = record_path(dir);
  if (!path_exists(path)) {
    if (path_exists(dir + "/metrics.jsonl"))
      throw ConfigError(dir + " is a run of its own, and no comparison's folder; choose another --run-dir");
    if (path_exists(dir + "/runs"))
      throw ConfigError(dir +
                        " holds runs but no comparison.json, so it is no comparison's folder; choose "
                        "another --run-dir");
    return nullptr;
  }
  const ordered_json record = ordered_json::parse(read_file(path), nullptr, false);
  if (!is_record(record))
    throw ConfigError(path + " is not what saslm compare writes; restore it, or choose another --run-dir");
  return record;
}

// The plan as it stands in `dir`: speeds measured before stay; another comparison is refused.
template <class T>
ComparePlan plan_in(const CompareFile& file, const std::string& dir, int64_t available_bytes) {
  ComparePlan plan = check_variants<T>(file, available_bytes);
  const ordered_json record = read_record(dir);
  for (VariantPlan& variant : plan.variants)
    if (record.is_object() && record["variants"].contains(variant.name))
      variant.tokens_per_s = record["variants"][variant.name].value("tokens_per_s", 0.0);
  set_steps<T>(file, plan);
  if (record.is_null()) return plan;
  std::string changes;
  for (const std::string& change : changes_since(record, to_json(plan))) changes += "\n  " + change;
  if (!changes.empty())
    throw ConfigError(dir + " holds another comparison than " + file.path + " now asks for:" + changes +
                      "\nrestore these, or choose another --run-dir (seeds and variants may be added)");
  return plan;
}

// Fills in the speeds that are not known; false when told to stop.
template <class T>
bool measure_speeds(ComparePlan& plan, const Ops<T>& ops, CompareObserver& observer,
                    const std::function<bool()>& stop) {
  std::vector<std::vector<double>> step_ms(plan.variants.size());
  for (int round = 0; round < kSpeedRounds; ++round)
    for (size_t v = 0; v < plan.variants.size(); ++v) {
      if (plan.variants[v].tokens_per_s > 0) continue;
      const auto ms =
          time_steps(plan.variants[v].config, ops,
                     {.warmup = kSpeedWarmup, .steps = kSpeedSteps, .seconds = kSpeedSeconds, .stop = stop});
      if (stop && stop()) return false;
      step_ms[v].insert(step_ms[v].end(), ms.begin(), ms.end());
    }
  for (size_t v = 0; v < plan.variants.size(); ++v) {
    VariantPlan& variant = plan.variants[v];
    if (step_ms[v].empty()) continue;
    variant.tokens_per_s = double(variant.plan.tokens_per_step) / median(step_ms[v]) * 1e3;
    observer.note(variant.name + ": measured " + std::to_string(int64_t(variant.tokens_per_s)) + " tokens/s");
  }
  return true;
}

void check_untouched(const RunRecord& run, const VariantPlan& variant, const std::string& run_dir) {
  if (run.steps_done > variant.config.train.steps)
    throw ConfigError(run_dir + " holds " + std::to_string(run.steps_done) +
                      " steps, of which this comparison " + "wants " +
                      std::to_string(variant.config.train.steps) +
                      ": it was trained on by itself; move it away, and it is trained again");
}

// One run, from where it is to its end.
template <class T>
TrainEnd run_one(const VariantPlan& variant, uint64_t seed, const std::string& run_dir, const Ops<T>& ops,
                 TrainObserver& watcher, const std::function<bool()>& stop) {
  Config config = variant.config;
  config.train.seed = seed;
  TrainOptions options;
  options.run_dir = run_dir;
  options.stop = stop;
  try {
    return Trainer<T>(config, options, ops, watcher).run();
  } catch (const DivergedError& error) {  // a result, which its metrics tell too
    watcher.warning(error.what());
    return TrainEnd::finished;
  }
}

}  // namespace

template <class T>
CompareOutcome run_comparison(const CompareFile& file, const std::string& dir, const Ops<T>& ops,
                              CompareObserver& observer, const std::function<bool()>& stop) {
  ComparePlan plan = plan_in<T>(file, dir, ops.available_bytes(1));
  const RunLock lock(dir);  // after the checks: a refused comparison leaves no folder behind
  remove_abandoned_writes(dir);
  observer.note(plan.data);
  if (plan.budget == Budget::seconds && !measure_speeds(plan, ops, observer, stop))
    return {TrainEnd::stopped, read_results(plan, dir)};
  set_steps<T>(file, plan);
  atomic_write_file(record_path(dir), to_json(plan).dump(2) + "\n");

  CompareResults results = read_results(plan, dir);
  const int64_t total = int64_t(plan.seeds.size() * plan.variants.size());
  int64_t number = 0;
  for (size_t s = 0; s < plan.seeds.size(); ++s)
    for (size_t v = 0; v < plan.variants.size(); ++v) {
      ++number;
      const RunRecord::Status status = results.variants[v].runs[s].status;
      if (status == RunRecord::Status::finished || status == RunRecord::Status::diverged) continue;
      const VariantPlan& variant = plan.variants[v];
      const std::string name = run_name(variant, plan.seeds[s]);
      check_untouched(results.variants[v].runs[s], variant, dir + "/runs/" + name);
      const auto watcher = observer.watch(name, number, total, variant.config.train.steps);
      const TrainEnd end = run_one(variant, plan.seeds[s], dir + "/runs/" + name, ops, *watcher, stop);
      results = read_results(plan, dir);
      write_results(results, dir);
      if (end == TrainEnd::stopped) return {end, std::move(results)};
      check(results.variants[v].runs[s].status >= RunRecord::Status::finished,
            "a run that ended is finished or diverged by its metrics");
    }
  write_results(results, dir);
  return {TrainEnd::finished, std::move(results)};
}

template <class T>
CompareResults report_comparison(const CompareFile& file, const std::string& dir) {
  if (!path_exists(record_path(dir)))
    throw ConfigError(dir + " holds no comparison yet; run it without --report-only, or name its --run-dir");
  CompareResults results = read_results(plan_in<T>(file, dir, 0), dir);
  write_results(results, dir);
  return results;
}

template CompareOutcome run_comparison(const CompareFile&, const std::string&, const Ops<float>&,
                                       CompareObserver&, const std::function<bool()>&);
template CompareOutcome run_comparison(const CompareFile&, const std::string&, const Ops<bf16>&,
                                       CompareObserver&, const std::function<bool()>&);
template CompareResults report_comparison<float>(const CompareFile&, const std::string&);
template CompareResults report_comparison<bf16>(const CompareFile&, const std::string&);

}  // namespace saslm
