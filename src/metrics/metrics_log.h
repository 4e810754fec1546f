// RUN/metrics.jsonl: what happened, one JSON object a line, to be read by people and programs while it grows.
//
//   {"event":"step","step":0,"loss":10.8,"grad_norm":2.1,"lr":1e-06,"tokens":524288,"step_ms":51.2,…}
//
// Numbers are in round-trip form, a number that is not finite is null. A line is one write, at the end; one
// that fails part-way (disk full) is taken back. What could not be written is kept, and written with the next
// line or at the next sync, which reports it if it cannot be. Errors IoError.
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
  int64_t tokens = 0;  // seen up to and with this step
  double step_ms = 0, tokens_per_s = 0;
  std::optional<double> mfu;           // null when the peak is not known
  std::optional<double> aux_loss;      // what training minimises beside the loss; written only where it does
  std::optional<std::string> skipped;  // why the update was not applied; written only when it was not
  uint64_t first_sample = 0;           // of the training stream, of those it read; written beside skipped
  int64_t samples = 0;                 // how many from there on; likewise
};

struct EvalRecord {
  int64_t step = 0;  // updates done: 0 before the first, steps after the last
  double val_loss = 0, val_ppl = 0;
  int64_t val_tokens = 0;
  std::optional<double> val_bpb;  // bits per byte of text; null when the tokenizer is not known
  int64_t sequences = 0;
  double eval_ms = 0;
};

struct CheckpointRecord {
  int64_t step = 0;  // updates done
  std::string path;
  int64_t bytes = 0;       // of its files
  double save_ms = 0;      // until it was on the disk; of one whose event was lost NaN, like the next
  double stall_ms = 0;     // of which training stood still
  std::string state_hash;  // of all weights and moments
  std::string problem;     // of what came after; not logged
  std::vector<std::string> removed;  // older ones, that went then; logged each for itself
};

struct ResumeReport {
  int64_t kept = 0, dropped = 0;  // lines; dropped: events which the run will produce again
  int64_t invalid = 0;            // lines that were no event at all, dropped too; a torn last line is one
  std::optional<double> last_val_loss;  // of the last evaluation kept
  std::optional<int64_t>
      last_eval_step;  // among the kept: whether the checkpoint's own evaluation is on record
  std::optional<int64_t> last_checkpoint_step;  // likewise, and itself
  std::string last_state_hash;                  // of that event; "" where it has none
  std::vector<StepRange> missing;  // steps before the checkpoint without a record, nor a missing_steps event
  int64_t repeated = 0;            // records of a step that had one already
};

class MetricsLog {
 public:
  // Opens or creates the file, to append.
  explicit MetricsLog(std::string path);

  // Rewrites the file, atomically, to what a run has logged when it reaches a checkpoint of `step` updates:
  // "step" events before it, "end" events not, other events that carry a step up to and with it, all others.
  // kNoCheckpoint: the run begins anew; of what was, only events without a step remain.
  static constexpr int64_t kNoCheckpoint = -1;
  // Where `other_evaluations` are wanted than those on record, that of the checkpoint itself goes, too.
  ResumeReport resume(int64_t step, bool other_evaluations = false);

  void log_step(const StepRecord& record);
  void log_eval(const EvalRecord& record);
  void log_checkpoint(const CheckpointRecord& record);
  void log_missing(const std::vector<StepRange>& ranges);  // an event for each
  void log(std::string_view event,
           const nlohmann::ordered_json& fields);  // an object; its keys follow "event"

  // Every line to the disk. Call before a checkpoint is saved, or a power cut may keep the checkpoint and
  // lose the steps before it. Any thread.
  void sync();
  // Why the last line could not be written; "" when it was. Any thread.
  std::string problem() const;

 private:
  void write_pending();  // the caller holds the mutex

  mutable std::mutex mutex_;  // of all that follows
  File file_;
  std::string pending_, problem_;
};

}  // namespace saslm
