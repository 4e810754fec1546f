// Reads a run's metrics.jsonl for a comparison, in one pass.
//
// Lines that are not valid events are skipped and counted, so only their own content is lost. A run is
// finished if its end and the evaluation of its last step are recorded.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compare/stats.h"
#include "config/config.h"

namespace saslm {

// Medians of a run's milliseconds per step, which are robust to single slow steps.
struct RunSpeed {
  double median_ms = 0;                   // of the whole run
  double fastest_ms = 0, slowest_ms = 0;  // of its quarters, if they have ten steps or more
};

struct RunRecord {
  enum class Status { missing, partial, finished, diverged };
  Status status = Status::missing;
  int64_t steps_done = 0;
  LossCurve evals;                      // (updates done, validation loss); finite values, each step once
  std::optional<double> bits_per_byte;  // of the last evaluation, if recorded
  std::optional<RunSpeed> speed;        // if there are timed steps
  double seconds = 0;                   // of all timed steps
  LossCurve training;                   // (steps done, training loss), smoothed, a few hundred points
  int64_t unreadable = 0;               // lines
  int64_t untimed = 0;                  // steps with an invalid step_ms; their other fields count
  bool last_eval_lost = false;          // the run ended, but its last evaluation is not recorded

  bool finished() const { return status == Status::finished; }
  double final_loss() const { return evals.back().second; }  // if finished
};
const char* name_of(RunRecord::Status status);

// Reads the text of a metrics.jsonl ("" if there is none yet); text after the last newline is ignored. A run
// has diverged if its last max_bad_steps steps were all skipped, or if the evaluation of its last step is not
// finite.
RunRecord read_run(std::string_view metrics, const TrainConfig& train);

// Fast parser for step events as MetricsLog writes them: 10 million in seconds. False for anything else,
// which the JSON library must parse. If true, the JSON library would give the same values.
struct StepLine {
  int64_t step = 0;
  std::optional<double> loss;
  double step_ms = 0;
};
bool scan_step(std::string_view line, StepLine& found);

}  // namespace saslm
