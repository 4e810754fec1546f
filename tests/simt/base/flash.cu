// FlashAttention-2 forward (Dao 2023, algorithm 1): 64 queries a block, 16 a warp; keys and values in tiles
// of 64, double buffered. Rows beyond T are zeros.
#include "kernels/simt/simt.h"
#include "simt/base/base.h"

namespace saslm::simt {
namespace {

constexpr int D = 64, kTile = 64, kThreads = 128;

struct Shared {
  bf16 q[kTile * D], k[2][kTile * D], v[2][kTile * D];
};

// 16-byte chunks of a 128-byte row, permuted so that a column of them falls into different banks.
__device__ __forceinline__ int place(int row, int chunk) {
  return row * D + ((chunk ^ (row % 8)) * 8);
}

__device__ __forceinline__ void load_tile(bf16* dst, const bf16* src, int first, int T) {
  for (int i = int(threadIdx.x); i < kTile * D / 8; i += kThreads) {
    const int row = i / 8;
    const bool valid = first + row < T;
    cp_async16(dst + place(row, i % 8), src + int64_t(valid ? first + row : 0) * D + i % 8 * 8, valid);
  }
}

struct Row {  // of the softmax, for the two rows of a lane
  float max[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
};

// s becomes exp2(scale (s - max)); what was summed before is scaled to the new maximum.
__device__ __forceinline__ void softmax_step(float (&s)[8][4], float (&o)[8][4], Row& row, float scale_log2) {
  SIMT_UNROLL
  for (int h = 0; h < 2; ++h) {
    float m = row.max[h];
    SIMT_UNROLL
    for (int n = 0; n < 8; ++n) m = fmaxf(m, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
    m = fmaxf(m, shuffle_xor(m, 1));
    m = fmaxf(m, shuffle_xor(m, 2));
    const float shrink = exp2_approx((row.max[h] - m) * scale_log2);
    row.max[h] = m;
    row.sum[h] *= shrink;
    SIMT_UNROLL
    for (int n = 0; n < 8; ++n) SIMT_UNROLL
    for (int e = 2 * h; e < 2 * h + 2; ++e) {
      o[n][e] *= shrink;
      s[n][e] = exp2_approx((s[n][e] - m) * scale_log2);
      row.sum[h] += s[n][e];
    }
  }
}

__device__ __forceinline__ void scores(float (&s)[8][4], const uint32_t (&q)[4][4], const bf16* k, int lane) {
  SIMT_UNROLL
  for (int n = 0; n < 4; ++n) SIMT_UNROLL
  for (int d = 0; d < 4; ++d) {
    uint32_t b[4];
    ldmatrix_x4(b, k + place(n * 16 + lane / 16 * 8 + lane % 8, d * 2 + lane / 8 % 2));
    mma_m16n8k16(s[2 * n], q[d], b[0], b[1]);
    mma_m16n8k16(s[2 * n + 1], q[d], b[2], b[3]);
  }
}

__device__ __forceinline__ void add_values(float (&o)[8][4], const float (&p)[8][4], const bf16* v,
                                           int lane) {
  SIMT_UNROLL
  for (int j = 0; j < 4; ++j) {
    const uint32_t a[4] = {pack_bf16(p[2 * j][0], p[2 * j][1]), pack_bf16(p[2 * j][2], p[2 * j][3]),
                           pack_bf16(p[2 * j + 1][0], p[2 * j + 1][1]),
                           pack_bf16(p[2 * j + 1][2], p[2 * j + 1][3])};
    SIMT_UNROLL
    for (int n = 0; n < 4; ++n) {
      uint32_t b[4];
      ldmatrix_x4_trans(b, v + place(j * 16 + lane % 16, n * 2 + lane / 16));
      mma_m16n8k16(o[2 * n], a, b[0], b[1]);
      mma_m16n8k16(o[2 * n + 1], a, b[2], b[3]);
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    flash_kernel(bf16* o, const bf16* q, const bf16* k, const bf16* v, int T, float scale_log2) {
  Shared& shared = *dyn_smem<Shared>();
  const int lane = lane_id(), first = int(blockIdx.x) * kTile, head = int(blockIdx.y);
  const int row = first + warp_id() * 16 + lane / 4;
  q += int64_t(head) * T * D, k += int64_t(head) * T * D, v += int64_t(head) * T * D,
      o += int64_t(head) * T * D;
  const int tiles = (min(first + kTile, T) + kTile - 1) / kTile;

  load_tile(shared.q, q, first, T);
  load_tile(shared.k[0], k, 0, T);
  load_tile(shared.v[0], v, 0, T);
  cp_async_commit();
  uint32_t fq[4][4];
  float sum[8][4] = {};
  Row state;
  for (int j = 0; j < tiles; ++j) {
    if (j + 1 < tiles) {
      load_tile(shared.k[(j + 1) % 2], k, (j + 1) * kTile, T);
      load_tile(shared.v[(j + 1) % 2], v, (j + 1) * kTile, T);
    }
    cp_async_commit();
    cp_async_wait<1>();
    block_sync();
    if (j == 0) {
      SIMT_UNROLL
      for (int d = 0; d < 4; ++d)
        ldmatrix_x4(fq[d], shared.q + place(warp_id() * 16 + lane % 16, d * 2 + lane / 16));
    }
    float s[8][4] = {};
    scores(s, fq, shared.k[j % 2], lane);
    if (j == tiles - 1) {
      SIMT_UNROLL
      for (int n = 0; n < 8; ++n) SIMT_UNROLL
      for (int e = 0; e < 4; ++e)
        if (j * kTile + n * 8 + lane % 4 * 2 + e % 2 > row + e / 2 * 8) s[n][e] = -INFINITY;
    }
    softmax_step(s, sum, state, scale_log2);
    add_values(sum, s, shared.v[j % 2], lane);
    block_sync();  // this stage is loaded again
  }
  SIMT_UNROLL
  for (int h = 0; h < 2; ++h) {
    float total = state.sum[h];
    total += shuffle_xor(total, 1);
    total += shuffle_xor(total, 2);
    if (row + h * 8 >= T) continue;
    SIMT_UNROLL
    for (int n = 0; n < 8; ++n)
      stv(o + int64_t(row + h * 8) * D + n * 8 + lane % 4 * 2,
          pack_bf16(sum[n][2 * h] / total, sum[n][2 * h + 1] / total));
  }
}

}  // namespace

void flash(Stream stream, bf16* o, const bf16* q, const bf16* k, const bf16* v, int heads, int T,
           float scale) {
  launch(flash_kernel, {(T + kTile - 1) / kTile, heads}, kThreads, sizeof(Shared), stream, o, q, k, v, T,
         scale * 1.44269504f);
}

}  // namespace saslm::simt
