// Planted bugs: within a warp.
#include "simt/zoo/zoo.h"

namespace saslm::simt::zoo {
namespace {

__global__ void shuffle_in_branch(float* o) {
  float v = float(threadIdx.x);
  if (threadIdx.x % 2)
    v = shuffle_xor(v, 2);
  else
    warp_sync();
  o[threadIdx.x] = v;
}
__global__ void shuffle_outside_mask(float* o) {
  float v = float(threadIdx.x);
  if (threadIdx.x < 16) v = shuffle_down(v, 8, kWarp, 0xffff);
  o[threadIdx.x] = v;
}
__global__ void lane_not_in_mask(float* o) {
  o[threadIdx.x] = shuffle_xor(float(threadIdx.x), 1, kWarp, 0xffff);
}
__global__ void masks_differ(float* o) {
  o[threadIdx.x] = shuffle_xor(float(threadIdx.x), 1, kWarp, threadIdx.x % 2 ? 0x7fffffff : kFullMask);
}
__global__ void lane_exits_before_shuffle(float* o) {
  if (threadIdx.x == 5) return;
  o[threadIdx.x] = shuffle_xor(float(threadIdx.x), 1);
}
__global__ void no_warp_sync(float* o) {
  SIMT_SHARED(float[32], s);
  s[threadIdx.x] = float(threadIdx.x);
  o[threadIdx.x] = s[threadIdx.x ^ 1];
}
__global__ void shuffle_is_no_fence(float* o) {
  SIMT_SHARED(float[32], s);
  s[threadIdx.x] = float(threadIdx.x);
  const float v = shuffle_xor(1.0f, 1);
  o[threadIdx.x] = v * s[threadIdx.x ^ 1];
}
__global__ void vote_is_no_fence(float* o) {
  SIMT_SHARED(float, s);
  if (threadIdx.x == 0) s = 0;
  warp_sync();
  if (threadIdx.x == 3) s = 1;
  const bool any = vote_any(threadIdx.x == 3);
  o[threadIdx.x] = any ? s : 2;
}
__global__ void mma_from_two_places(float* o) {
  float d[4] = {};
  const uint32_t a[4] = {};
  if (threadIdx.x < 16)
    mma_m16n8k16(d, a, 0, 0);
  else
    mma_m16n8k16(d, a, 0, 0);
  o[threadIdx.x] = d[0];
}
__global__ void mma_of_half_a_warp(float* o) {
  float d[4] = {};
  const uint32_t a[4] = {};
  if (threadIdx.x < 16) mma_m16n8k16(d, a, 0, 0);
  o[threadIdx.x] = d[0];
}

}  // namespace

std::vector<Bug> warp_bugs() {
  const char *outside = "not in the mask", *differ = "different masks", *places = "different places",
             *exits = "exit", *race = "race with a";
  return {
      {"shuffle in a branch", shuffle_in_branch, 1, 32, 0, "waits in", "waits in", "waits in"},
      {"shuffle from a lane outside the mask", shuffle_outside_mask, 1, 32, 0, outside, outside, outside},
      {"lane outside its own mask", lane_not_in_mask, 1, 32, 0, outside, outside, outside},
      {"lanes give different masks", masks_differ, 1, 32, 0, differ, differ, differ},
      {"lane exits before a shuffle", lane_exits_before_shuffle, 1, 32, 0, exits, exits, exits},
      {"no warp_sync", no_warp_sync, 1, 32, 0, kNan, kNan, "never written"},
      {"shuffle taken for a fence", shuffle_is_no_fence, 1, 32, 0, nullptr, nullptr, race},
      {"vote taken for a fence", vote_is_no_fence, 1, 32, 0, nullptr, nullptr, race},
      {"mma from two places", mma_from_two_places, 1, 32, 0, places, places, places},
      {"mma of half a warp", mma_of_half_a_warp, 1, 32, 0, exits, exits, exits},
  };
}

}  // namespace saslm::simt::zoo
