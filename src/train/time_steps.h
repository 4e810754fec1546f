// Times training steps on this machine, for `saslm bench step` and for comparisons at equal seconds.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "comm/communicator.h"
#include "config/config.h"
#include "ops/ops.h"

namespace saslm {

struct TimeStepsOptions {
  int64_t warmup = 3, steps = 10;            // steps that are not timed; least number of timed steps
  double seconds = 0;                        // least total of timed steps
  std::function<bool()> stop;                // called after every step; true: stop
  const Communicator& comm = single_rank();  // the ranks that train together; all call it
};

// Milliseconds of whole steps on random tokens, in order: gradients of all micro-batches, norm, and update.
// Fewer than `steps` only if stopped. The same number on every rank: rank 0's clock decides.
template <class T>
std::vector<double> time_steps(const Config& config, const Ops<T>& ops, const TimeStepsOptions& options);

}  // namespace saslm
