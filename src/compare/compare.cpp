#include "compare/compare.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "compare/report.h"
#include "compare/speeds.h"
#include "core/error.h"
#include "core/file.h"
#include "train/agreement.h"

namespace saslm {
namespace {

using nlohmann::ordered_json;

std::string record_path(const std::string& dir) {
  return dir + "/comparison.json";
}

bool is_record(const ordered_json& record) {
  const auto is_variant = [](const ordered_json& variant) {
    const auto at = [&](const ordered_json::json_pointer& path) {
      return variant.contains(path) ? variant[path] : ordered_json();
    };
    const ordered_json rounds = at(ordered_json::json_pointer("/tokens_per_s_of_rounds"));
    const ordered_json eval = at(ordered_json::json_pointer("/config/eval"));
    return at(ordered_json::json_pointer("/config/runtime")).is_object() &&
           (eval.is_null() || eval.is_object()) &&
           at(ordered_json::json_pointer("/tokens_per_s")).is_number() &&
           (rounds.is_null() || rounds.is_array()) &&
           std::all_of(rounds.begin(), rounds.end(), [](const ordered_json& one) { return one.is_number(); });
  };
  return record.is_object() && record.contains("version") && record.contains("seeds") &&
         record.contains("variants") && record["variants"].is_object() &&
         std::all_of(record["variants"].begin(), record["variants"].end(), is_variant);
}

ordered_json read_record(const std::string& dir) {
  const std::string path = record_path(dir);
  if (!path_exists(path)) {
    if (path_exists(dir + "/metrics.jsonl"))
      throw ConfigError(dir +
                        " is the directory of a single run, not of a comparison; choose another --run-dir");
    if (path_exists(dir + "/runs"))
      throw ConfigError(dir + " contains runs but no comparison.json; choose another --run-dir");
    return nullptr;
  }
  const ordered_json record = ordered_json::parse(read_file(path), nullptr, false);
  if (!is_record(record))
    throw ConfigError(path + " was not written by saslm compare; restore it, or choose another --run-dir");
  return record;
}

// Takes measured speeds from the plan in `dir`; refuses another comparison.
template <class T>
ComparePlan settle(ComparePlan plan, const CompareFile& file, const std::string& dir,
                   bool on_any_ranks = false) {
  const ordered_json record = read_record(dir);
  for (VariantPlan& variant : plan.variants) {
    if (!record.is_object() || !record["variants"].contains(variant.name)) continue;
    const ordered_json& stored = record["variants"][variant.name];
    variant.tokens_per_s = stored.value("tokens_per_s", 0.0);
    variant.speed_rounds = stored.value("tokens_per_s_of_rounds", std::vector<double>{});
  }
  if (on_any_ranks && record.is_object() && record.contains("ranks") && record["ranks"].is_number_integer())
    plan.ranks = record["ranks"];
  set_steps<T>(file, plan);
  if (record.is_null()) return plan;
  std::string changes;
  for (const std::string& change : changes_since(record, to_json(plan)))
    changes += (changes.empty() ? " " : "; ") + change;
  if (!changes.empty())
    throw ConfigError(dir + " contains a different comparison than " + file.path +
                      " describes now:" + changes +
                      "; restore these, or choose another --run-dir (seeds and variants may be added)");
  return plan;
}

// Also makes the other ranks wait until rank 0 may write what all have read.
void check_alike(const Communicator& comm, const ComparePlan& plan, const std::string& dir) {
  if (comm.size() == 1) return;
  nlohmann::json mine = {{"comparison", nlohmann::json::parse(to_json(plan).dump())}, {"--run-dir", dir}};
  for (auto& [name, variant] : mine["comparison"]["variants"].items()) variant["config"].erase("runtime");
  mine["build"] = build_hash();
  check_alike(comm, mine);
}

// Broadcasts rank 0's decision.
bool first_says(const Communicator& comm, bool mine) {
  return gather_numbers(comm, {double(mine)}, "agreement on the next run")[0] != 0;
}

void check_untouched(const RunRecord& run, const VariantPlan& variant, const std::string& run_dir) {
  if (run.steps_done > variant.config.train.steps)
    throw ConfigError(run_dir + " holds " + std::to_string(run.steps_done) + " steps, but this comparison " +
                      "wants " + std::to_string(variant.config.train.steps) +
                      ": it was trained further on its own; move it away to train it again");
}

// Runs or continues one run to its end.
template <class T>
TrainEnd run_one(const Config& config, const TrainOptions& options, const Ops<T>& ops, TrainObserver& watcher,
                 const Communicator& comm) {
  std::unique_ptr<Trainer<T>> trainer;
  try {
    trainer = std::make_unique<Trainer<T>>(config, options, ops, watcher, comm);
    return trainer->run();
  } catch (const DivergedError& error) {  // a result, also recorded in its metrics
    watcher.warning(error.what());
    return TrainEnd::finished;
  } catch (const PeerError&) {  // rank 0 reports why: the run has diverged, or everything ends
    if (!trainer || trainer->state().detector.bad_in_row < config.train.max_bad_steps) throw;
    return TrainEnd::finished;
  } catch (const std::exception& error) {
    comm.abandon(error);
    throw;
  }
}

// The runs of a comparison in order, with results after each. Each run's metrics are read once.
template <class T>
class Runs {
 public:
  Runs(const ComparePlan& plan, const CompareOptions& options, const Ops<T>& ops, CompareObserver& observer,
       const Communicator& comm)
      : plan_(plan), options_(options), ops_(ops), observer_(observer), comm_(comm) {
    if (comm.first()) runs_ = read_runs(plan, options.dir);
  }

  TrainEnd all() {
    for (size_t s = 0; s < plan_.seeds.size(); ++s)
      for (size_t v = 0; v < plan_.variants.size(); ++v)
        if (first_says(comm_, comm_.first() && !ended(v, s)) && train(v, s) == TrainEnd::stopped)
          return TrainEnd::stopped;
    return TrainEnd::finished;
  }

  CompareResults results() const { return comm_.first() ? compile_results(plan_, runs_) : CompareResults{}; }

 private:
  bool ended(size_t v, size_t s) const {
    const RunRecord::Status status = runs_[v][s].status;
    return status == RunRecord::Status::finished || status == RunRecord::Status::diverged;
  }

  TrainEnd train(size_t v, size_t s) {
    const VariantPlan& variant = plan_.variants[v];
    const std::string name = run_name(variant, plan_.seeds[s]), run_dir = options_.dir + "/runs/" + name;
    const auto watcher =
        observer_.watch(name, int64_t(s * plan_.variants.size() + v + 1),
                        int64_t(plan_.seeds.size() * plan_.variants.size()), variant.config.train.steps);
    if (comm_.first()) look_at(runs_[v][s], variant, run_dir, *watcher);
    Config config = variant.config;
    config.train.seed = plan_.seeds[s];
    TrainOptions options;
    options.run_dir = run_dir;
    options.stop = options_.stop;
    options.local_ranks = options_.local_ranks;
    options.name_kernels = options_.name_kernels;
    options.check_kernels = options_.check_kernels;
    const TrainEnd end = run_one(config, options, ops_, *watcher, comm_);
    if (!comm_.first()) return end;
    runs_[v][s] = read_run_in(options_.dir, variant, plan_.seeds[s]);
    write_results(results(), options_.dir);
    check(end == TrainEnd::stopped || ended(v, s), "a run that ended is finished or diverged by its metrics");
    return end;
  }

  static void look_at(const RunRecord& run, const VariantPlan& variant, const std::string& run_dir,
                      TrainObserver& watcher) {
    check_untouched(run, variant, run_dir);
    if (run.last_eval_lost)
      watcher.warning("the evaluation of the last step is missing or unreadable; it is repeated");
  }

  const ComparePlan& plan_;
  const CompareOptions& options_;
  const Ops<T>& ops_;
  CompareObserver& observer_;
  const Communicator& comm_;
  std::vector<std::vector<RunRecord>> runs_;  // on rank 0; by variant and seed
};

}  // namespace

template <class T>
ComparePlan check_comparison(const CompareFile& file, const CompareOptions& options, const Ops<T>& ops) {
  const int sharing = ops.host_memory ? options.local_ranks : 1;
  return settle<T>(check_variants<T>(file, ops.available_bytes(options.local_ranks), sharing), file,
                   options.dir);
}

template <class T>
CompareOutcome run_comparison(const CompareFile& file, const CompareOptions& options, const Ops<T>& ops,
                              CompareObserver& observer, const Communicator& comm) {
  ComparePlan plan = check_comparison<T>(file, options, ops);
  check_alike(comm, plan, options.dir);
  std::optional<RunLock> lock;
  if (comm.first()) {  // after the checks: a refused comparison leaves no folder behind
    lock.emplace(options.dir);
    remove_abandoned_writes(options.dir);
    observer.note(plan.data);
    for (size_t v = 0; v < plan.variants.size(); ++v)
      if (const std::string note = parameters_note(plan, v); !note.empty()) observer.warning(note);
  }
  if (plan.budget == Budget::seconds && !measure_speeds(plan, ops, comm, observer, options.stop))
    return {TrainEnd::stopped, Runs<T>(plan, options, ops, observer, comm).results()};
  set_steps<T>(file, plan);
  if (comm.first()) atomic_write_file(record_path(options.dir), to_json(plan).dump(2) + "\n");

  Runs<T> runs(plan, options, ops, observer, comm);
  const TrainEnd end = runs.all();
  CompareResults results = runs.results();
  if (comm.first()) write_results(results, options.dir);
  return {end, std::move(results)};
}

template <class T>
CompareResults report_comparison(const CompareFile& file, const std::string& dir) {
  if (!path_exists(record_path(dir)))
    throw ConfigError(dir +
                      " contains no comparison yet; run it without --report-only, or give its --run-dir");
  const ComparePlan plan = settle<T>(check_variants<T>(file, 0), file, dir, /*on_any_ranks=*/true);
  CompareResults results = compile_results(plan, read_runs(plan, dir));
  write_results(results, dir);
  return results;
}

template CompareOutcome run_comparison(const CompareFile&, const CompareOptions&, const Ops<float>&,
                                       CompareObserver&, const Communicator&);
template CompareOutcome run_comparison(const CompareFile&, const CompareOptions&, const Ops<bf16>&,
                                       CompareObserver&, const Communicator&);
template ComparePlan check_comparison(const CompareFile&, const CompareOptions&, const Ops<float>&);
template ComparePlan check_comparison(const CompareFile&, const CompareOptions&, const Ops<bf16>&);
template CompareResults report_comparison<float>(const CompareFile&, const std::string&);
template CompareResults report_comparison<bf16>(const CompareFile&, const std::string&);

}  // namespace saslm
