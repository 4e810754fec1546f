// What RUN/metrics.jsonl has on record, and what it lacks: a file that was copied too early, cut off, or
// damaged in a line is told apart from a whole one.
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
  int64_t first = 0, last = 0;  // both in it
  bool operator==(const StepRange&) const = default;
};

// "3 to 7, 9"; of more than a few the first ones, and how many more there are.
std::string to_text(const std::vector<StepRange>& ranges);

// The ranges of `all` without what lies in `taken`, in order.
std::vector<StepRange> without(const std::vector<StepRange>& all, const std::vector<StepRange>& taken);

struct MetricsSurvey {
  int64_t lines = 0, unreadable = 0;  // whole lines; of which no event
  int64_t steps_end = 0;              // the highest step on record, + 1
  int64_t repeated = 0;               // step events of a step that had one already
  std::vector<StepRange> steps;       // on record, in order
  std::vector<StepRange> admitted;    // of missing_steps events, as they stand
  std::optional<int64_t> first_eval_step, last_eval_step;
  std::optional<double> last_val_loss;          // of the last; none where that is not a finite number
  std::optional<int64_t> end_step;              // of the last "end"
  std::map<int64_t, std::string> state_hashes;  // of checkpoint events, by step; the last of each

  // Steps in [0, end) without a record.
  std::vector<StepRange> missing(int64_t end) const;
  // The run was evaluated on its way, and ended, but the evaluation of its end is not on record.
  bool lacks_last_eval() const;
};

// A last line without its end is being written, and is not looked at.
MetricsSurvey survey_metrics(std::string_view text);

}  // namespace saslm
