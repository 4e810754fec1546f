// Times the gradient all-reduce: by the fixed tree, bit-identical for any number of ranks, and by the library
// that joins the ranks.
#pragma once
#include <vector>

#include "comm/communicator.h"
#include "ops/ops.h"

namespace saslm {

// Time of one all-reduce until the slowest rank has finished: median and range of the samples.
struct SumTime {
  double ms = 0, ms_min = 0, ms_max = 0;
};
struct RanksTime {
  int64_t bytes = 0;
  SumTime tree, library;
  bool has_library = false;  // false: no library joins the ranks
};

// For about `bytes` bytes of gradients per rank; all ranks call it and get the same result.
template <class T>
RanksTime time_ranks(const Ops<T>& ops, const Communicator& comm, int64_t bytes, int64_t samples);

}  // namespace saslm
