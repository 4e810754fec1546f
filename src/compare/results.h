// Computes means, differences and sentences from the runs' metrics. A function of plan and metrics only, so
// an interrupted comparison ends with the same results as an uninterrupted one.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "compare/metrics.h"
#include "compare/plan.h"
#include "compare/stats.h"

namespace saslm {

// Largest ratio of a variant's fastest to slowest speed that still counts as one speed.
constexpr double kSteadySpeeds = 1.1;

// Losses at one amount of one budget, the same for all variants.
struct Reading {
  bool at_end = true;  // both this variant's and the baseline's runs end there; false: read off the curves
  Summary loss;        // over the finished seeds
  PairedDifference difference;  // from the baseline; none for the baseline
  std::string why_not;          // why there is no figure although runs are finished; else ""
  // A reading off a curve has an error that seeds do not show: the learning rate had not yet decayed there.
  bool shown() const { return at_end && difference.shown(); }
};

struct VariantResult {
  std::vector<RunRecord> runs;                         // by seed, as in the plan
  Summary loss, ppl, bits_per_byte;                    // at the end of finished runs
  std::optional<double> median_step_ms;                // median of the runs' medians
  std::optional<std::pair<double, double>> speeds_ms;  // fastest and slowest part of its runs
  std::string unsteady;                                // why its speed cannot be measured; "" if it can
  std::array<Reading, 3> at;                           // by Budget
  std::string sentence;                                // for the chosen budget

  int64_t count(RunRecord::Status status) const;
};

struct CompareResults {
  ComparePlan plan;
  std::vector<VariantResult> variants;  // as in the plan
  std::array<std::optional<double>, 3>
      common;  // by Budget: the amount at which all are compared, the smallest of all runs

  int64_t count(RunRecord::Status status) const;
  bool complete() const;  // every run finished or diverged
};

std::string run_name(const VariantPlan& variant, uint64_t seed);

// Loss at each run's end, or at the common amount of `budget`; nullopt if there is none.
std::optional<double> loss_of(const CompareResults& results, Budget budget, size_t v, size_t s);

// variant - baseline for one seed, at each of the variant's evaluations within the baseline's curve: (amount,
// difference).
LossCurve difference_curve(const CompareResults& results, Budget budget, size_t v, size_t s);

// runs[v][s]: of variant v with seed s, as in the plan.
CompareResults compile_results(const ComparePlan& plan, const std::vector<std::vector<RunRecord>>& runs);

// Reads DIR/runs/NAME/metrics.jsonl of one run; of all runs, for compile_results.
RunRecord read_run_in(const std::string& dir, const VariantPlan& variant, uint64_t seed);
std::vector<std::vector<RunRecord>> read_runs(const ComparePlan& plan, const std::string& dir);

}  // namespace saslm
