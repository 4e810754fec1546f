// Planted bugs: cp.async.
#include "simt/zoo/zoo.h"

namespace saslm::simt::zoo {
namespace {

__global__ void misaligned_destination(float* o) {
  float* s = dyn_smem<float>();
  cp_async16(s + threadIdx.x * 2, o + threadIdx.x * 4);
  cp_async_commit();
  cp_async_wait<0>();
}
__global__ void misaligned_source(float* o) {
  float* s = dyn_smem<float>();
  cp_async16(s + threadIdx.x * 4, o + threadIdx.x * 4 + 1);
  cp_async_commit();
  cp_async_wait<0>();
}
__global__ void source_out_of_bounds(float* o) {
  float* s = dyn_smem<float>();
  cp_async16(s + threadIdx.x * 4, o + threadIdx.x * 4 + kFloats - 64);
  cp_async_commit();
  cp_async_wait<0>();
}
__global__ void never_waited(float* o) {
  float* s = dyn_smem<float>();
  cp_async16(s + threadIdx.x * 4, o + threadIdx.x * 4);
  cp_async_commit();
}
__global__ void never_committed(float* o) {
  float* s = dyn_smem<float>();
  cp_async16(s + threadIdx.x * 4, o + threadIdx.x * 4);
  cp_async_wait<0>();
  o[threadIdx.x * 4] = s[threadIdx.x * 4];
  cp_async_commit();
  cp_async_wait<0>();
}
__global__ void read_before_wait(float* o) {
  float* s = dyn_smem<float>();
  cp_async16(s + threadIdx.x * 4, o + threadIdx.x * 4);
  cp_async_commit();
  o[threadIdx.x * 4] = s[threadIdx.x * 4];
  cp_async_wait<0>();
}
__global__ void reads_what_was_there(float* o) {  // the buffer holds the values of an earlier pass
  float* s = dyn_smem<float>();
  s[threadIdx.x * 4] = 1;
  cp_async16(s + threadIdx.x * 4, o + threadIdx.x * 4);
  cp_async_commit();
  const float early = s[threadIdx.x * 4];
  cp_async_wait<0>();
  o[threadIdx.x * 4] = early;
}
__global__ void waits_one_group_too_few(float* o) {
  float* s = dyn_smem<float>();
  for (int stage = 0; stage < 2; ++stage) {
    cp_async16(s + stage * 128 + threadIdx.x * 4, o + stage * 128 + threadIdx.x * 4);
    cp_async_commit();
  }
  cp_async_wait<1>();
  const float second = s[128 + threadIdx.x * 4];
  cp_async_wait<0>();
  o[threadIdx.x * 4] = second;
}
__global__ void no_barrier_after_wait(float* o) {
  float* s = dyn_smem<float>();
  cp_async16(s + threadIdx.x * 4, o + threadIdx.x * 4);
  cp_async_commit();
  cp_async_wait<0>();
  o[threadIdx.x * 4 + 1] = s[(threadIdx.x * 4 + 64) % 256];
}
__global__ void barrier_before_wait(float* o) {
  float* s = dyn_smem<float>();
  cp_async16(s + threadIdx.x * 4, o + threadIdx.x * 4);
  cp_async_commit();
  block_sync();
  cp_async_wait<0>();
  o[threadIdx.x * 4 + 1] = s[(threadIdx.x * 4 + 64) % 256];
}
__global__ void refills_while_read(float* o) {
  float* s = dyn_smem<float>();
  float sum = 0;
  for (int i = 0; i < 2; ++i) {
    cp_async16(s + threadIdx.x * 4, o + (threadIdx.x * 4 + i * 16) % kFloats);
    cp_async_commit();
    cp_async_wait<0>();
    block_sync();
    sum += s[(threadIdx.x * 4 + 64) % 256];
  }  // a block_sync is missing: the next copy overwrites what others still read
  block_sync();
  o[threadIdx.x * 4] = sum;
}
__global__ void writes_into_flight(float* o) {
  float* s = dyn_smem<float>();
  cp_async16(s + threadIdx.x * 4, o + threadIdx.x * 4);
  cp_async_commit();
  s[threadIdx.x * 4] = 1;
  cp_async_wait<0>();
  o[threadIdx.x * 4] = s[threadIdx.x * 4];
}

}  // namespace

std::vector<Bug> copy_bugs() {
  const char *aligned = "aligned", *flight = "in flight", *race = "race with a", *never = "never waited";
  return {
      {"cp.async to a misaligned destination", misaligned_destination, 1, 32, 1024, aligned, aligned,
       aligned},
      {"cp.async from a misaligned source", misaligned_source, 1, 32, 1024, aligned, aligned, aligned},
      {"cp.async source out of bounds", source_out_of_bounds, 1, 32, 1024, nullptr, "heap-buffer-overflow",
       nullptr},
      {"cp.async never waited for", never_waited, 1, 32, 1024, never, never, never},
      {"cp.async waited for before its commit", never_committed, 1, 32, 1024, kNan, kNan, flight},
      {"cp.async destination read before the wait", read_before_wait, 1, 32, 1024, kNan, kNan, flight},
      {"cp.async destination read before it is refilled", reads_what_was_there, 1, 32, 1024, kNan, kNan,
       flight},
      {"cp.async wait of one group too few", waits_one_group_too_few, 1, 32, 1024, kNan, kNan, flight},
      {"cp.async without a barrier after the wait", no_barrier_after_wait, 1, 64, 1024, kNan, kNan,
       "never written"},
      {"cp.async with the barrier before the wait", barrier_before_wait, 1, 64, 1024, kNan, kNan, flight},
      {"cp.async refills what others read", refills_while_read, 1, 64, 1024, kDepends, kDepends, race},
      {"store into a copy in flight", writes_into_flight, 1, 32, 1024, kDepends, kDepends, flight},
  };
}

}  // namespace saslm::simt::zoo
