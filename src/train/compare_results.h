// What the runs say: their metrics in, means, differences and sentences out. A function of plan and metrics
// alone, so that an interrupted comparison ends with the results of one that was not.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "train/compare_plan.h"
#include "train/compare_stats.h"

namespace saslm {

struct RunRecord {
  enum class Status { missing, partial, finished, diverged };
  Status status = Status::missing;
  int64_t steps_done = 0;
  std::vector<std::pair<double, double>> evals;  // (updates done, validation loss), finite ones
  std::vector<double> step_ms;

  bool finished() const { return status == Status::finished; }
  double final_loss() const { return evals.back().second; }  // when finished
};
const char* name_of(RunRecord::Status status);

// The text of a metrics.jsonl ("" when there is none yet). A run has diverged when its last max_bad_steps
// steps were all refused, or when its last evaluation is not finite.
RunRecord read_run(const std::string& metrics, const TrainConfig& train);

// Losses at one amount of one thing, the same for all variants.
struct Reading {
  bool at_end = true;           // of both this variant's and the baseline's runs; else read off the curves
  Summary loss;                 // over the finished seeds
  PairedDifference difference;  // to the baseline; none for itself
};

struct VariantResult {
  std::vector<RunRecord> runs;  // by seed, as in the plan
  Summary loss, ppl;            // at the runs' ends, over the finished ones
  std::optional<double> median_step_ms;
  std::array<Reading, 3> at;  // by Budget
  std::string sentence;       // of the budget that was set

  int64_t count(RunRecord::Status status) const;
};

struct CompareResults {
  ComparePlan plan;
  std::vector<VariantResult> variants;          // as in the plan
  std::array<std::optional<double>, 3> common;  // by Budget: where all are compared; the least that any has

  int64_t count(RunRecord::Status status) const;
  bool complete() const;  // every run finished or diverged
};

std::string run_name(const VariantPlan& variant, uint64_t seed);

// runs[v][s]: of variant v with seed s, as in the plan.
CompareResults compile_results(const ComparePlan& plan, const std::vector<std::vector<RunRecord>>& runs);

// The same of DIR/runs/NAME/metrics.jsonl.
CompareResults read_results(const ComparePlan& plan, const std::string& dir);

}  // namespace saslm
