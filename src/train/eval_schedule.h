// When a run evaluates, and which part of its FLOPs evaluations take.
#pragma once
#include <cstdint>

#include "config/config.h"

namespace saslm {

struct EvalSchedule {
  int64_t steps = 0;         // number of training steps
  int64_t every = 0;         // in steps; 0: only before the first step and after the last
  int64_t sequences = 0;     // per evaluation; 0: no evaluations
  int64_t global_batch = 1;  // sequences per training step

  // Number of evaluations from this step to the end, one at this step included.
  int64_t evaluations_from(int64_t step) const;
  // Cost of one evaluation in training steps: a forward pass has a third of a step's FLOPs.
  double cost() const { return double(sequences) / (3 * double(global_batch)); }
  // Fraction of the run's FLOPs that evaluations take.
  double share() const;
};

EvalSchedule eval_schedule(const Config& config, int64_t sequences);

// Whether an evaluation is due before this step.
bool evaluation_due(const EvalSchedule& schedule, int64_t step);

}  // namespace saslm
