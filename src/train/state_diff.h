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

struct StateDifference {
  std::optional<MetricDifference> metric;     // the first
  int64_t steps_compared = 0;                 // steps and evaluations that both have on record
  std::vector<int64_t> checkpoints_compared;  // up to the first that differs
  std::vector<TensorDifference> tensors;      // of the last of them, in the order of its files

  bool none() const { return !metric && tensors.empty(); }
};

// Both are runs, or both are checkpoints; checkpoints are verified. CheckpointError when one is damaged or
// they are not of one model; DataError when there is nothing that both have.
StateDifference diff(const std::string& a, const std::string& b);

// The records of two metrics.jsonl, steps first <= s < end and evaluations first < s <= end: sets `metric`
// and `steps_compared`.
void diff_metrics(const std::string& run_a, const std::string& run_b, int64_t first, int64_t end,
                  StateDifference& difference);

}  // namespace saslm
