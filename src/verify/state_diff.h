// What differs between two checkpoints, or between two runs, bit for bit.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace saslm {

struct TensorDifference {
  std::string name;  // "m." and "v.": moments
  int64_t differing = 0, elements = 0;
  int64_t first = 0;   // index, row-major
  float a = 0, b = 0;  // there
};

struct MetricDifference {
  int64_t step = 0;
  std::string event;  // "step" or "eval"
  std::string field;  // "loss", "grad_norm", ...
  std::string a, b;   // as JSON; "absent"
};

// Steps that only one side has on record.
struct StepsAlone {
  int64_t within = 0;  // the range that both cover: a difference
  int64_t first = 0;   // of those
  int64_t beyond = 0;  // that range, before or after: none, since a run may be shorter
};

struct StateDifference {
  std::optional<MetricDifference> metric;  // the first
  int64_t steps_compared = 0;              // steps and evaluations that both have on record
  StepsAlone only_a, only_b;
  std::vector<int64_t> checkpoints_compared;  // up to the first that differs
  std::vector<TensorDifference> tensors;      // of the last of them, in the order of its files

  bool none() const { return !metric && tensors.empty() && only_a.within + only_b.within == 0; }
};

// Both are runs, or both are checkpoints; checkpoints are verified. CheckpointError when one is damaged or
// they are not of one model; DataError when there is nothing that both have.
StateDifference diff(const std::string& a, const std::string& b);

// The records of two metrics.jsonl, steps first <= s < end and evaluations first < s <= end: sets `metric`,
// `steps_compared`, `only_a` and `only_b`. How often a run evaluates changes no bit: evaluations that only
// one has are passed over.
void diff_metrics(const std::string& run_a, const std::string& run_b, int64_t first, int64_t end,
                  StateDifference& difference);

}  // namespace saslm
