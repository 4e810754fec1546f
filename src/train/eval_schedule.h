// When a run evaluates, and how much of its work that is.
#pragma once
#include <cstdint>

#include "config/config.h"

namespace saslm {

struct EvalSchedule {
  int64_t steps = 0;         // of training
  int64_t every = 0;         // steps; 0: only before the first and after the last
  int64_t sequences = 0;     // of one evaluation; 0: there is none
  int64_t global_batch = 1;  // sequences of one step

  // How many evaluations are due once so many updates are done, the one due at that moment among them.
  int64_t evaluations_from(int64_t step) const;
  // Of one evaluation, in training steps: forward alone is a third of a step's FLOPs.
  double cost() const { return double(sequences) / (3 * double(global_batch)); }
  // Of all FLOPs of the run, those of its evaluations.
  double share() const;
};

EvalSchedule eval_schedule(const Config& config, int64_t sequences);

// Whether an evaluation is due when so many updates are done.
bool evaluation_due(const EvalSchedule& schedule, int64_t step);

}  // namespace saslm
