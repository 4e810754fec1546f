// What the runs say: their metrics in, means, differences and sentences out. A function of plan and metrics
// alone, so that an interrupted comparison ends with the results of one that was not.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "compare/metrics.h"
#include "compare/plan.h"
#include "compare/stats.h"

namespace saslm {

// The fastest over the slowest of one variant's speeds, up to which they count as one speed.
constexpr double kSteadySpeeds = 1.1;

// Losses at one amount of one thing, the same for all variants.
struct Reading {
  bool at_end = true;           // of both this variant's and the baseline's runs; else read off the curves
  Summary loss;                 // over the finished seeds
  PairedDifference difference;  // to the baseline; none for itself
  std::string why_not;          // there is no figure, although runs are finished; "" when there is
  // What is read off a curve is off by more than seeds can tell: the learning rate had not yet decayed there.
  bool shown() const { return at_end && difference.shown(); }
};

struct VariantResult {
  std::vector<RunRecord> runs;                         // by seed, as in the plan
  Summary loss, ppl, bits_per_byte;                    // at the runs' ends, over the finished ones
  std::optional<double> median_step_ms;                // of the runs' medians
  std::optional<std::pair<double, double>> speeds_ms;  // the fastest and the slowest part of its runs
  std::string unsteady;       // why its speed cannot be told from the machine's; "" when it can
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

// Loss at each end, or where `budget` is used up as far as all variants have it; nothing where none can be
// given.
std::optional<double> loss_of(const CompareResults& results, Budget budget, size_t v, size_t s);

// variant - baseline with one seed, at each of the variant's evaluations that the baseline's curve reaches:
// (amount, difference).
LossCurve difference_curve(const CompareResults& results, Budget budget, size_t v, size_t s);

// runs[v][s]: of variant v with seed s, as in the plan.
CompareResults compile_results(const ComparePlan& plan, const std::vector<std::vector<RunRecord>>& runs);

// DIR/runs/NAME/metrics.jsonl of one run; of all, as compile_results takes them.
RunRecord read_run_in(const std::string& dir, const VariantPlan& variant, uint64_t seed);
std::vector<std::vector<RunRecord>> read_runs(const ComparePlan& plan, const std::string& dir);

}  // namespace saslm
