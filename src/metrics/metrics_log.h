// RUN/metrics.jsonl: the events of a run, one JSON object per line, readable while it grows.
//
//   {"event":"step","step":0,"loss":10.8,"grad_norm":2.1,"lr":1e-06,"tokens":524288,"step_ms":51.2,…}
//
// Numbers are in round-trip form; a number that is not finite is null. A line is appended by one write; a
// partial write (disk full) is undone. Lines that could not be written are kept, and written with the next
// line or at the next sync, which throws IoError if that fails.
#pragma once
#include <cstdint>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "metrics/survey.h"

namespace saslm {

struct StepRecord {
  int64_t step = 0;  // from 0
  double loss = 0, grad_norm = 0, lr = 0;
  int64_t tokens = 0;  // up to and including this step
  double step_ms = 0, tokens_per_s = 0;
  std::optional<double> mfu;  // null if the peak is unknown
  std::optional<double>
      aux_loss;  // the additional loss that training minimises; written only if there is one
  std::optional<std::string> skipped;  // why the update was not applied; written only in that case
  uint64_t first_sample = 0;  // first sample of the training stream that it read; written with skipped
  int64_t samples = 0;        // number of samples from there; likewise
};

struct EvalRecord {
  int64_t step = 0;  // updates done: 0 before the first, steps after the last
  double val_loss = 0, val_ppl = 0;
  int64_t val_tokens = 0;
  std::optional<double> val_bpb;  // bits per byte of text; null if the tokenizer is unknown
  int64_t sequences = 0;
  double eval_ms = 0;
};

struct CheckpointRecord {
  int64_t step = 0;  // updates done
  std::string path;
  int64_t bytes = 0;                 // of its files
  double save_ms = 0;                // until it was on disk; NaN if the event was lost, also below
  double stall_ms = 0;               // time during which training waited
  std::string state_hash;            // of all weights and moments
  std::string problem;               // of later work; not logged
  std::vector<std::string> removed;  // older checkpoints deleted then; each is logged separately
};

struct ResumeReport {
  int64_t kept = 0, dropped = 0;        // lines; dropped: events that the run will produce again
  int64_t invalid = 0;                  // dropped lines that are not events, such as a torn last line
  std::optional<double> last_val_loss;  // of the last evaluation kept
  std::optional<int64_t>
      last_eval_step;  // its step: shows whether the checkpoint's own evaluation is recorded
  std::optional<int64_t> last_checkpoint_step;  // of the last checkpoint event kept
  std::string last_state_hash;                  // of that event; "" if it has none
  std::vector<StepRange>
      missing;           // steps before the checkpoint with neither a record nor a missing_steps event
  int64_t repeated = 0;  // repeated records of a step
};

class MetricsLog {
 public:
  // Opens or creates the file for appending.
  explicit MetricsLog(std::string path);

  // Rewrites the file atomically to its content at the checkpoint of `step` updates: "step" events before it,
  // no "end" events, other events with a step up to and including it, and all events without a step.
  // kNoCheckpoint: a new run; only events without a step remain.
  static constexpr int64_t kNoCheckpoint = -1;
  // If evaluations now differ from those on record (`other_evaluations`), the checkpoint's own is also
  // dropped.
  ResumeReport resume(int64_t step, bool other_evaluations = false);

  void log_step(const StepRecord& record);
  void log_eval(const EvalRecord& record);
  void log_checkpoint(const CheckpointRecord& record);
  void log_missing(const std::vector<StepRange>& ranges);  // one event per range
  void log(std::string_view event,
           const nlohmann::ordered_json& fields);  // an object, whose keys follow "event"

  // Syncs all lines to disk. Call before a checkpoint is saved; otherwise a power cut may keep the checkpoint
  // and lose the steps before it. Thread-safe.
  void sync();
  // Why the last line could not be written; "" if it was. Thread-safe.
  std::string problem() const;

 private:
  void write_pending();  // the caller holds the mutex

  mutable std::mutex mutex_;  // guards all members below
  File file_;
  std::string pending_, problem_;
};

}  // namespace saslm
