// Planted bugs: barriers of the block.
#include "simt/zoo/zoo.h"

namespace saslm::simt::zoo {
namespace {

__global__ void some_threads_skip(float* o) {
  if (threadIdx.x < 48) block_sync();
  o[threadIdx.x] = 1;
}
__global__ void two_places(float* o) {
  if (threadIdx.x < 16)
    block_sync();
  else
    block_sync();
  o[threadIdx.x] = 1;
}
__global__ void early_return(float* o) {
  if (threadIdx.x == 40) return;
  block_sync();
  o[threadIdx.x] = 1;
}
__global__ void read_after_write(float* o) {
  SIMT_SHARED(float[64], s);
  s[threadIdx.x] = float(threadIdx.x);
  o[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void write_after_read(float* o) {
  SIMT_SHARED(float[64], s);
  float sum = 0;
  for (int i = 0; i < 3; ++i) {
    s[threadIdx.x] = float(i);
    block_sync();
    sum += s[(threadIdx.x + 1) % 64];
  }
  o[threadIdx.x] = sum;
}
__global__ void write_after_write(float* o) {
  SIMT_SHARED(float, s);
  if (threadIdx.x % kWarp == 0) s = float(threadIdx.x);
  block_sync();
  o[threadIdx.x] = s;
}
__global__ void warp_barrier_for_a_block(float* o) {
  SIMT_SHARED(float[64], s);
  s[threadIdx.x] = float(threadIdx.x);
  warp_sync();
  o[threadIdx.x] = s[(threadIdx.x + kWarp) % 64];
}
__global__ void named_never_completes(float* o) {
  if (threadIdx.x < kWarp)
    bar_sync(1, 64);
  else
    bar_arrive(2, 64);
  o[threadIdx.x] = 1;
}
__global__ void named_counts_differ(float* o) {
  bar_sync(1, threadIdx.x < kWarp ? 64 : 96);
  o[threadIdx.x] = 1;
}
__global__ void named_wrong_direction(float* o) {  // the producer waits, the consumer only arrives
  SIMT_SHARED(float, s);
  if (threadIdx.x < kWarp) {
    if (threadIdx.x == 0) s = 1;
    bar_sync(1, 64);
  } else {
    bar_arrive(1, 64);
    o[threadIdx.x] = s;
  }
}

}  // namespace

std::vector<Bug> barrier_bugs() {
  const char *deadlock = "deadlock", *race = "race with a";
  return {
      {"threads skip block_sync", some_threads_skip, 1, 64, 0, deadlock, deadlock, deadlock},
      {"block_sync from two places", two_places, 1, 32, 0, "divergent barrier", "divergent barrier",
       "divergent barrier"},
      {"early return before block_sync", early_return, 1, 64, 0, deadlock, deadlock, deadlock},
      {"no block_sync between write and read", read_after_write, 1, 64, 0, kNan, kNan, "never written"},
      {"no block_sync between read and write", write_after_read, 1, 64, 0, kDepends, kDepends, race},
      {"two warps write one variable", write_after_write, 1, 64, 0, kDepends, kDepends, race},
      {"warp_sync where block_sync is due", warp_barrier_for_a_block, 1, 64, 0, kNan, kNan, "never written"},
      {"named barrier never completes", named_never_completes, 1, 64, 0, deadlock, deadlock, deadlock},
      {"named barrier with two counts", named_counts_differ, 1, 96, 0, "disagree", "disagree", "disagree"},
      {"named barrier the wrong way round", named_wrong_direction, 1, 64, 0, kNan, kNan, race},
  };
}

}  // namespace saslm::simt::zoo
