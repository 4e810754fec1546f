// What a comparison reads off a run: its metrics.jsonl, line by line, once.
//
// A line that is no event, or not what an event of its kind holds, is left out and counted: it costs the run
// no more than what stood in it. A run is finished when its end and the evaluation of its last step are on
// record.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compare/stats.h"
#include "config/config.h"

namespace saslm {

// Medians of a run's milliseconds a step, which one slow step says nothing to.
struct RunSpeed {
  double median_ms = 0;                   // of the whole run
  double fastest_ms = 0, slowest_ms = 0;  // of its quarters, where they have ten steps or more
};

struct RunRecord {
  enum class Status { missing, partial, finished, diverged };
  Status status = Status::missing;
  int64_t steps_done = 0;
  LossCurve evals;                      // (updates done, validation loss), finite ones, each step once
  std::optional<double> bits_per_byte;  // of the last of them, where the run says so
  std::optional<RunSpeed> speed;        // when there are timed steps
  double seconds = 0;                   // of all of these
  LossCurve training;                   // (steps done, training loss), smoothed, a few hundred points
  int64_t unreadable = 0;               // lines
  int64_t untimed = 0;                  // steps whose step_ms can be no time; all else of them counts
  bool last_eval_lost = false;          // it came to its end, but what it came to is not on record

  bool finished() const { return status == Status::finished; }
  double final_loss() const { return evals.back().second; }  // when finished
};
const char* name_of(RunRecord::Status status);

// The text of a metrics.jsonl ("" when there is none yet); what follows the last line end is being written.
// A run has diverged when its last max_bad_steps steps were all refused, or when the evaluation of its last
// step is not finite.
RunRecord read_run(std::string_view metrics, const TrainConfig& train);

// A step's event as MetricsLog writes it, of which 10 million are read in seconds. False: it is another, or
// written otherwise, which the library has to read. What is true here, the library reads the same.
struct StepLine {
  int64_t step = 0;
  std::optional<double> loss;
  double step_ms = 0;
};
bool scan_step(std::string_view line, StepLine& found);

}  // namespace saslm
