// Measures the time of a call, and the limits of the device.
//
// A sample queues as many launches as fill sample_ms, waits once, and divides the time by the launches. So
// launch overhead only shows in operations that are faster than one launch, as in training. Successive
// launches use different copies of the call's memory, rotate_bytes in total, so that inputs are not in a
// cache. There are at most kMaxCopies copies, so calls that access less than rotate_bytes / kMaxCopies may
// hit the cache, as in training, and so may gathers of a few rows from a large table.
// KernelTime::rotated_bytes shows this.
#pragma once
#include "bench/kernel_call.h"

namespace saslm {

struct TimingOptions {
  int64_t samples = 10;
  double sample_ms = 10;
  int64_t rotate_bytes = int64_t(128) << 20;  // twice the L2 cache of an H200
};

struct KernelTime {
  double ms = 0, ms_min = 0, ms_max = 0;  // per launch: median and range of the samples
  int64_t launches = 0;                   // per sample
  int64_t rotated_bytes = 0;              // bytes accessed before memory is reused
};

constexpr int64_t kMaxCopies = 64;

// MachineError if the call's memory does not fit.
template <class T>
KernelTime time_kernel(const KernelCall<T>& call, const Ops<T>& ops, const TimingOptions& options);

// Runs the call once on separate memory, and waits for it.
template <class T>
void run_once(const KernelCall<T>& call, const Ops<T>& ops);

// The limits for percentages: a large matrix multiplication, and the faster of a large copy and a large
// update, on this backend.
struct Ceilings {
  double flop_per_s = 0, bytes_per_s = 0;
  std::string flops_from, bytes_from;  // "matmul_fwd 8192x8192 -> 8192, measured"
};
template <class T>
Ceilings measure_ceilings(const Ops<T>& ops, const TimingOptions& options);

}  // namespace saslm
