// How long a call takes, and what the device can do at best.
//
// A sample is as many launches as fill sample_ms, queued one after another and waited for once; its time is
// divided by the launches. The host's launching therefore shows only in operations that take less time than
// one launch, as it does in training. Successive launches work on different copies of the call's memory, of
// rotate_bytes together, so that no cache holds an input from the launch before; at most kMaxCopies, so that
// calls that touch less than rotate_bytes / kMaxCopies may find it there, as they do in training, and so may
// few rows gathered from a large table. KernelTime::rotated_bytes tells.
#pragma once
#include "bench/kernel_call.h"

namespace saslm {

struct TimingOptions {
  int64_t samples = 10;
  double sample_ms = 10;
  int64_t rotate_bytes = int64_t(128) << 20;  // twice the L2 cache of an H200
};

struct KernelTime {
  double ms = 0, ms_min = 0, ms_max = 0;  // of a launch: median and range of the samples
  int64_t launches = 0;                   // of a sample
  int64_t rotated_bytes = 0;              // touched before the first of it is touched again
};

constexpr int64_t kMaxCopies = 64;

// MachineError when the call's memory does not fit.
template <class T>
KernelTime time_kernel(const KernelCall<T>& call, const Ops<T>& ops, const TimingOptions& options);

// Once, on memory of its own; returns when it is done.
template <class T>
void run_once(const KernelCall<T>& call, const Ops<T>& ops);

// What percentages are relative to: a large matrix product, and the better of a large copy and a large
// update, as this backend does them.
struct Ceilings {
  double flop_per_s = 0, bytes_per_s = 0;
  std::string flops_from, bytes_from;  // "matmul_fwd 8192x8192 -> 8192, measured"
};
template <class T>
Ceilings measure_ceilings(const Ops<T>& ops, const TimingOptions& options);

}  // namespace saslm
