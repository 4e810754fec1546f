// What it costs to sum gradients over the ranks: by the fixed tree, whose bits do not depend on their number,
// and by the all-reduce of the library that joins them.
#pragma once
#include <vector>

#include "comm/communicator.h"
#include "ops/ops.h"

namespace saslm {

// Of one sum, until the slowest rank has it: median and range of the samples.
struct SumTime {
  double ms = 0, ms_min = 0, ms_max = 0;
};
struct RanksTime {
  int64_t bytes = 0;
  SumTime tree, library;
  bool has_library = false;  // false: the ranks are not joined by one that sums
};

// Gradients of about `bytes` bytes on each rank; all ranks call it and get the same.
template <class T>
RanksTime time_ranks(const Ops<T>& ops, const Communicator& comm, int64_t bytes, int64_t samples);

}  // namespace saslm
