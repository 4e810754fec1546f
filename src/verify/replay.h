// A stretch of a run, computed once more: does the same come out? If not, the machine computed something
// wrong, then or now.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "ops/ops.h"
#include "train/trainer.h"
#include "verify/state_diff.h"

namespace saslm {

struct ReplayOptions {
  std::string run_dir;
  std::string work_dir;             // made, and removed again; of a killed replay: used anew
  std::optional<int64_t> from, to;  // steps; 0: the beginning. Default: the last two valid checkpoints
  std::string init_from;            // where the weights that it began with are now; "": where they were
};

// What will be replayed, from where to where, under which config. CheckpointError when there are no two such
// states, or when the weights that the run began with are gone or are others now.
struct ReplayPlan {
  int64_t from = 0, to = 0;
  std::string from_path, to_path;    // checkpoints; from_path is "" for the beginning
  std::vector<std::string> skipped;  // checkpoints that are damaged, and why
  std::vector<std::string>
      changes;  // of the run's settings on the way, by its metrics: the last ones are replayed
  Config config;
  ComputedBy computed_by;   // as the state at `to` was
  std::string init_from;    // the weights that the run began with, when from is 0; "": its seed's
  TokenizerCopy tokenizer;  // as the state at `to` has it
};
ReplayPlan plan_replay(const ReplayOptions& options, const std::vector<std::string>& overrides);

// Trains from `from` to `to` in work_dir, and compares every record between and the tensors at the end. The
// run itself is only read. Errors as the Trainer's.
template <class T>
StateDifference replay(const ReplayOptions& options, const ReplayPlan& plan, const Ops<T>& ops);

}  // namespace saslm
