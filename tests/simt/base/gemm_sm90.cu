// The product by wgmma: one warpgroup loads tiles by TMA, one multiplies them; a ring of stages between the
// two. c (M, N) = a (M, K) bᵀ, all multiples of 64.
#include "kernels/simt/simt_sm90.h"
#include "simt/base/base.h"

namespace saslm::simt {
namespace {

constexpr int kTile = 64, kStages = 2, kThreads = 256;

struct Shared {
  bf16 a[kStages][kTile * kTile], b[kStages][kTile * kTile];
  uint64_t full[kStages], empty[kStages];
};

__device__ __forceinline__ void load(Shared& s, const TensorMap& a, const TensorMap& b, int row, int column,
                                     int steps) {
  for (int step = 0; step < steps; ++step) {
    const int stage = step % kStages;
    mbar_wait(&s.empty[stage], (step / kStages & 1) ^ 1);
    mbar_expect_bytes(&s.full[stage], 2 * kTile * kTile * sizeof(bf16));
    tma_load_2d(s.a[stage], &a, step * kTile, row, &s.full[stage]);
    tma_load_2d(s.b[stage], &b, step * kTile, column, &s.full[stage]);
  }
}

__device__ __forceinline__ void multiply(Shared& s, float (&sum)[32], int steps) {
  SIMT_UNROLL
  for (int i = 0; i < 32; ++i) sum[i] = 0;
  for (int step = 0; step < steps; ++step) {
    const int stage = step % kStages;
    mbar_wait(&s.full[stage], step / kStages & 1);
    const uint64_t a = descriptor_swizzle_128(s.a[stage], 16, 1024),
                   b = descriptor_swizzle_128(s.b[stage], 16, 1024);
    wgmma_fence();
    SIMT_UNROLL
    for (int k = 0; k < kTile / 16; ++k)  // 16 of K are 32 bytes; a descriptor counts in 16
      wgmma_m64n64k16<0>(sum, a + uint64_t(k * 2), b + uint64_t(k * 2), true);
    wgmma_commit();
    wgmma_wait<0>(sum);
    if (lane_id() == 0) mbar_arrive(&s.empty[stage]);
  }
}

__global__ void __launch_bounds__(kThreads, 1)
    gemm_kernel(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, Mat<float> c,
                int steps) {
  Shared& s = *dyn_smem<Shared>();
  const int row = int(blockIdx.y) * kTile, column = int(blockIdx.x) * kTile;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      mbar_init(&s.full[i], 1);
      mbar_init(&s.empty[i], 4);  // a lane of each warp that multiplies
    }
    mbar_fence_init();
  }
  block_sync();
  if (warp_id() < 4) {
    release_registers<40>();
    if (threadIdx.x == 0) load(s, a, b, row, column, steps);
  } else {
    claim_registers<232>();
    float sum[32];
    multiply(s, sum, steps);
    const int lane = lane_id(), first = row + warp_id() % 4 * 16 + lane / 4;
    SIMT_UNROLL
    for (int j = 0; j < 8; ++j) SIMT_UNROLL
    for (int h = 0; h < 2; ++h)
      stv(c[first + h * 8] + column + j * 8 + lane % 4 * 2,
          float2{sum[j * 4 + h * 2], sum[j * 4 + h * 2 + 1]});
  }
}

}  // namespace

void gemm_sm90(Stream stream, Mat<float> c, Mat<const bf16> a, Mat<const bf16> b) {
  const auto map = [](Mat<const bf16> x) {
    return tensor_map_2d(x.data, uint64_t(x.cols), uint64_t(x.rows), uint64_t(x.stride) * sizeof(bf16), kTile,
                         kTile);
  };
  launch(gemm_kernel, {c.cols / kTile, c.rows / kTile}, kThreads, sizeof(Shared), stream, map(a), map(b), c,
         int(a.cols) / kTile);
}

}  // namespace saslm::simt
