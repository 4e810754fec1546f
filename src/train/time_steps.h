// How long a training step takes here: what `saslm bench step` shows and equal seconds are budgeted by.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "comm/communicator.h"
#include "config/config.h"
#include "ops/ops.h"

namespace saslm {

struct TimeStepsOptions {
  int64_t warmup = 3, steps = 10;            // not timed; timed at least
  double seconds = 0;                        // go on until this much was timed
  std::function<bool()> stop;                // asked after every step: give up?
  const Communicator& comm = single_rank();  // who shares the steps: all of them call it
};

// Milliseconds of whole steps on random tokens, in order: gradients of every micro-step, norm, update. Fewer
// than `steps` only when told to stop. As many on every rank: the first one's clock decides.
template <class T>
std::vector<double> time_steps(const Config& config, const Ops<T>& ops, const TimeStepsOptions& options);

}  // namespace saslm
