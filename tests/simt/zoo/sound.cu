// Kernels without a bug: an alarm would be false.
#include "simt/zoo/zoo.h"

namespace saslm::simt::zoo {
namespace {

__global__ void blocks_add_atomically(float* o) {
  atomic_add(&o[threadIdx.x], 1.0f);
}
__global__ void ragged_block(float* o) {  // 40 threads: the second warp has 8 lanes
  const float v = shuffle_xor(float(threadIdx.x), 1);
  SIMT_SHARED(float[40], s);
  s[threadIdx.x] = v;
  block_sync();
  o[threadIdx.x] = s[39 - threadIdx.x] + float(block_sync_count(threadIdx.x % 2 == 0));
}
__global__ void whole_warp_leaves(float* o) {
  if (warp_id() == 1) return;
  o[threadIdx.x] = shuffle(float(threadIdx.x), 3);
}
__global__ void producer_and_consumer(float* o) {  // named barriers 1: full, 2: empty
  SIMT_SHARED(float[32], s);
  for (int i = 0; i < 3; ++i) {
    if (warp_id() == 0) {
      s[lane_id()] = float(i * lane_id());
      bar_arrive(1, 64);
      bar_sync(2, 64);
    } else {
      bar_sync(1, 64);
      o[i * 32 + lane_id()] = s[31 - lane_id()];
      bar_arrive(2, 64);
    }
  }
}
__global__ void bytes_side_by_side(float* o) {
  SIMT_SHARED(uint8_t[64], s);
  s[threadIdx.x] = uint8_t(threadIdx.x);
  block_sync();
  o[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void halves_of_a_warp(float* o) {
  const unsigned mask = threadIdx.x < 16 ? 0x0000ffff : 0xffff0000;
  float v = float(threadIdx.x);
  for (int lanes = 8; lanes; lanes /= 2) v += shuffle_xor(v, lanes, 16, mask);
  o[threadIdx.x] = vote_all(v > 0, mask) ? v : -1;
}
__global__ void zeros_for_what_is_not_there(float* o) {
  float* s = dyn_smem<float>();
  cp_async16(s + threadIdx.x * 4, o + threadIdx.x * 4, threadIdx.x < 16);
  cp_async_commit();
  cp_async_wait<0>();
  block_sync();
  o[threadIdx.x] = s[127 - threadIdx.x];
}
__global__ void reads_shared_by_all(float* o) {
  SIMT_SHARED(float[4], s);
  for (int i = 0; i < 3; ++i) {
    if (threadIdx.x < 4) s[threadIdx.x] = float(i);
    block_sync();
    const float v = s[threadIdx.x % 4];
    block_sync();
    o[threadIdx.x] = v;
  }
}

}  // namespace

std::vector<Bug> sound_kernels() {
  return {
      {"blocks add atomically", blocks_add_atomically, 2, 32, 0, nullptr, nullptr, nullptr},
      {"ragged block", ragged_block, 1, 40, 0, nullptr, nullptr, nullptr},
      {"a whole warp leaves", whole_warp_leaves, 1, 96, 0, nullptr, nullptr, nullptr},
      {"producer and consumer", producer_and_consumer, 1, 64, 0, nullptr, nullptr, nullptr},
      {"bytes side by side", bytes_side_by_side, 1, 64, 0, nullptr, nullptr, nullptr},
      {"halves of a warp", halves_of_a_warp, 1, 32, 0, nullptr, nullptr, nullptr},
      {"zeros for what is not there", zeros_for_what_is_not_there, 1, 32, 1024, nullptr, nullptr, nullptr},
      {"reads shared by all", reads_shared_by_all, 1, 128, 0, nullptr, nullptr, nullptr},
  };
}

}  // namespace saslm::simt::zoo
