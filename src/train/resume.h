// Going on with a run: from which checkpoint, how what it says compares with what is asked for now, and what
// the run's record, metrics.jsonl, lacks of it.
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

// The newest valid checkpoint. Damaged ones after it are renamed, so that none is found later, and what a
// killed save left is removed; the observer is told of both. ConfigError where `mode` forbids to go on,
// CheckpointError where it wants to and there is nothing to go on from, or where every checkpoint is damaged:
// then nothing was renamed.
std::optional<Checkpoint> find_checkpoint(const std::string& run_dir, ResumeMode mode,
                                          TrainObserver& observer);

// Tells what is not as it was when the checkpoint was saved, beside `changes` of its config; what changes the
// arithmetic is added to these. `saved` is the checkpoint's state, `now` has this start's data and machine.
// DataError when data.train is other data.
void tell_changes(const Checkpoint& checkpoint, const RunState& saved, const RunState& now,
                  const std::string& init_from, std::vector<std::string>& changes, TrainObserver& observer);

// Whether evaluations from here on cannot be compared with the checkpoint's and those before it, being of
// other data or of other sequences; the observer is told. `saved` is the checkpoint's state, `now` has the
// data's fingerprints, `sample` is what an evaluation reads now.
bool other_evaluations(const Checkpoint& checkpoint, const RunState& saved, const RunState& now,
                       const EvalSample& sample, TrainObserver& observer);

// What the record lacks of the checkpoint's `step` steps, or has too much, is told and marked in it; and a
// save that was killed before it was on record is put there. `report` is MetricsLog::resume's.
void complete_record(const ResumeReport& report, const Checkpoint& checkpoint, int64_t step,
                     MetricsLog& metrics, TrainObserver& observer);

}  // namespace saslm
