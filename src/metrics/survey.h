// Finds what RUN/metrics.jsonl contains and lacks, to detect a file that was copied too early, cut off, or
// damaged.
//
//   {"event":"missing_steps","step":20,"first":12,"last":19}    written by a run that went on from a
//                                                                checkpoint although these had no record
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace saslm {

struct StepRange {
  int64_t first = 0, last = 0;  // both included
  bool operator==(const StepRange&) const = default;
};

// "3 to 7, 9"; of many ranges, the first ones and the number of others.
std::string to_text(const std::vector<StepRange>& ranges);

// The set difference `all` \ `taken`, in order.
std::vector<StepRange> without(const std::vector<StepRange>& all, const std::vector<StepRange>& taken);

struct MetricsSurvey {
  int64_t lines = 0, unreadable = 0;  // complete lines; those that are not events
  int64_t steps_end = 0;              // the highest recorded step + 1
  int64_t repeated = 0;               // repeated step events of a step
  std::vector<StepRange> steps;       // on record, in order
  std::vector<StepRange> admitted;    // from missing_steps events
  std::optional<int64_t> first_eval_step, last_eval_step;
  std::optional<double> last_val_loss;          // of the last evaluation; nullopt if it is not finite
  std::optional<int64_t> end_step;              // of the last "end"
  std::map<int64_t, std::string> state_hashes;  // of checkpoint events, by step; the last one per step

  // Steps in [0, end) without a record.
  std::vector<StepRange> missing(int64_t end) const;
  // Whether the run has evaluations and ended, but its final evaluation is not recorded.
  bool lacks_last_eval() const;
};

// A last line without a newline is still being written and is ignored.
MetricsSurvey survey_metrics(std::string_view text);

}  // namespace saslm
