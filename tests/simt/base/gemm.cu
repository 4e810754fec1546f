// 64 x 64 tiles by four warps of 32 x 32; K in steps of 32, loaded two steps ahead of their use.
#include "kernels/simt/simt.h"
#include "simt/base/base.h"

namespace saslm::simt {
namespace {

constexpr int kTile = 64, kStep = 32, kThreads = 128, kStages = 3;
constexpr int kPitch = kStep + 8;  // 80 bytes: the 8 rows of an ldmatrix fall into different banks

struct Shared {
  bf16 a[kStages][kTile * kPitch], b[kStages][kTile * kPitch];
};

__device__ __forceinline__ void load_tile(bf16* dst, Mat<const bf16> src, int64_t row, int64_t column) {
  for (int i = int(threadIdx.x); i < kTile * kStep / 8; i += kThreads) {
    const int r = i / (kStep / 8), c = i % (kStep / 8) * 8;
    cp_async16(dst + r * kPitch + c, src[row + r] + column + c);
  }
}

__device__ __forceinline__ void multiply(float (&sum)[2][4][4], const bf16* a, const bf16* b, int lane) {
  SIMT_UNROLL
  for (int k = 0; k < kStep; k += 16) {
    uint32_t fa[2][4], fb[2][4];
    SIMT_UNROLL
    for (int i = 0; i < 2; ++i) {
      ldmatrix_x4(fa[i], a + (i * 16 + lane % 16) * kPitch + k + lane / 16 * 8);
      ldmatrix_x4(fb[i], b + (i * 16 + lane / 16 * 8 + lane % 8) * kPitch + k + lane / 8 % 2 * 8);
    }
    SIMT_UNROLL
    for (int i = 0; i < 2; ++i) SIMT_UNROLL
    for (int j = 0; j < 4; ++j)
      mma_m16n8k16(sum[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
  }
}

__global__ void __launch_bounds__(kThreads) gemm_kernel(Mat<float> c, Mat<const bf16> a, Mat<const bf16> b) {
  Shared& s = *dyn_smem<Shared>();
  const int lane = lane_id(), m = warp_id() / 2 * 32, n = warp_id() % 2 * 32;
  const int64_t row = int64_t(blockIdx.y) * kTile, column = int64_t(blockIdx.x) * kTile;
  const int steps = int(a.cols) / kStep;

  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) {
      load_tile(s.a[step], a, row, step * kStep);
      load_tile(s.b[step], b, column, step * kStep);
    }
    cp_async_commit();
  }
  float sum[2][4][4] = {};
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    block_sync();  // the tiles of all threads are here, and nobody reads the stage that is loaded next
    const int next = step + kStages - 1;
    if (next < steps) {
      load_tile(s.a[next % kStages], a, row, next * kStep);
      load_tile(s.b[next % kStages], b, column, next * kStep);
    }
    cp_async_commit();
    multiply(sum, s.a[step % kStages] + m * kPitch, s.b[step % kStages] + n * kPitch, lane);
  }
  SIMT_UNROLL
  for (int i = 0; i < 2; ++i) SIMT_UNROLL
  for (int j = 0; j < 4; ++j) SIMT_UNROLL
  for (int h = 0; h < 2; ++h)
    stv(c[row + m + i * 16 + h * 8 + lane / 4] + column + n + j * 8 + lane % 4 * 2,
        float2{sum[i][j][2 * h], sum[i][j][2 * h + 1]});
}

}  // namespace

void gemm(Stream stream, Mat<float> c, Mat<const bf16> a, Mat<const bf16> b) {
  launch(gemm_kernel, {c.cols / kTile, c.rows / kTile}, kThreads, sizeof(Shared), stream, c, a, b);
}

}  // namespace saslm::simt
