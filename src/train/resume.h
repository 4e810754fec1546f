// Resuming a run: which checkpoint, how it compares with the present config, data and machine, and which
// steps metrics.jsonl lacks.
#pragma once
#include <optional>
#include <string>

#include "checkpoint/checkpoint.h"
#include "data/eval_sample.h"
#include "metrics/metrics_log.h"
#include "train/observer.h"
#include "train/run_state.h"

namespace saslm {

enum class ResumeMode {
  automatic,  // from the newest valid checkpoint, if there is one
  must,       // refuse to start anew
  never,      // refuse a directory that already holds checkpoints
};

std::string checkpoints_dir(const std::string& run_dir);

// Returns the newest valid checkpoint. Renames damaged ones after it, so that they are never found later, and
// removes the remains of killed saves; the observer gets a line for each. ConfigError if there are
// checkpoints and `mode` is never. CheckpointError if `mode` is must and there is none, or if every
// checkpoint is damaged; then nothing is renamed.
std::optional<Checkpoint> find_checkpoint(const std::string& run_dir, ResumeMode mode,
                                          TrainObserver& observer);

// Warns of `changes` of the config and of everything else that differs from when the checkpoint was saved;
// adds to `changes` what changes the arithmetic. `saved` is the checkpoint's state, `now` has the present
// data and machine. DataError if data.train has other tokens.
void tell_changes(const Checkpoint& checkpoint, const RunState& saved, const RunState& now,
                  const std::string& init_from, std::vector<std::string>& changes, TrainObserver& observer);

// Whether evaluations now read other data or other sequences than before the checkpoint, so that their losses
// cannot be compared; the observer gets a warning. `saved` is the checkpoint's state, `now` has the present
// fingerprints, `sample` is what an evaluation reads now.
bool other_evaluations(const Checkpoint& checkpoint, const RunState& saved, const RunState& now,
                       const EvalSample& sample, TrainObserver& observer);

// Warns of steps up to the checkpoint's `step` that metrics.jsonl lacks or has twice, and logs missing ones
// as an event. Logs the checkpoint itself if the process was killed before it could. `report` is
// MetricsLog::resume's.
void complete_record(const ResumeReport& report, const Checkpoint& checkpoint, int64_t step,
                     MetricsLog& metrics, TrainObserver& observer);

}  // namespace saslm
