// The sum over a block, for every thread of it.
#pragma once
#include "kernels/simt/simt.h"

namespace saslm::simt {

// partial has a float for each warp.
template <int kThreads>
__device__ __forceinline__ float block_sum(float v, float* partial) {
  SIMT_UNROLL
  for (int lanes = kWarp / 2; lanes; lanes /= 2) v += shuffle_xor(v, lanes);
  if (lane_id() == 0) partial[warp_id()] = v;
  block_sync();
  float sum = 0;
  for (int w = 0; w < kThreads / kWarp; ++w) sum += partial[w];
  block_sync();  // partial is written again
  return sum;
}

}  // namespace saslm::simt
