// Backward through the projections of a SAS simulation, y = rope(Z3 + relu(Z3) W2^T + b2), Z3 = Z2 W1^T +
// b1. Rows are the heads of all tokens at hand, kRows x E, shared among all warps (sas_bwd_tile.cuh). In
// order:
//
//   recompute_z3         Z3 = Z2 W1^T + b1                relu(Z3) to its rows, the sign of Z3 to registers
//   add_linear_gradient  dW2 += dY^T relu(Z3)
//   compute_dz3          dZ3 = dY + [Z3>0] (dY W2)        and db2 += sum of dY, db1 += sum of dZ3, over rows
//   store_dz3            dZ3 to relu(Z3)'s place
//   add_linear_gradient  dW1 += dZ3^T Z2
//   compute_dz2          dZ2 = dZ3 W1                     as lines: positions by heads of a token
//   store_projection_..  the partition's sums, once
#pragma once
#include "kernels/cuda/sas_bwd_tile.cuh"

namespace saslm::cuda {

// The first line of 8 rows' heads.
template <class B>
__device__ __forceinline__ const bf16* block_lines(const typename B::Shared& s, int block) {
  return s.z2[block / B::kHeadBlocks] + B::Mid::kFirst + block % B::kHeadBlocks * 8;
}

// Z3 = Z2 W1^T + b1, kRowTiles x 16 rows by kColumns x 8 features a warp. relu(Z3) goes to shared memory; bit
// 4 n + i of `positive` says that value i of column block n is above 0.
template <class Dims, class B>
__device__ __forceinline__ void recompute_z3(typename B::Shared& s, const WarpPlace<B>& at,
                                             uint32_t (&positive)[B::kRowTiles]) {
  using W = typename B::Weights;
  float z3[B::kRowTiles][B::kColumns][4];
  start_sums(z3, s.w.proj1_b + at.column(), at.lane);
  SIMT_UNROLL
  for (int k = 0; k < Dims::kD; k += 16) {
    Columns<B::kColumns> b;
    b.load(s.w.proj1 + at.column() * W::kPitch1 + k, W::kPitch1, at.lane);
    SIMT_UNROLL
    for (int m = 0; m < B::kRowTiles; ++m) {
      const int tile = at.row_group() * B::kRowTiles + m;
      if (tile >= B::kRows / 16) continue;
      uint32_t z2[4];
      load_rows_transposed(z2, block_lines<B>(s, 2 * tile) + k * B::Mid::kPitch,
                           block_lines<B>(s, 2 * tile + 1) + k * B::Mid::kPitch, B::Mid::kPitch, at.lane);
      multiply(z3[m], z2, b);
    }
  }
  SIMT_UNROLL
  for (int m = 0; m < B::kRowTiles; ++m) {
    const int tile = at.row_group() * B::kRowTiles + m;
    if (tile >= B::kRows / 16) continue;
    positive[m] = 0;
    SIMT_UNROLL
    for (int i = 0; i < B::kColumns * 4; ++i) positive[m] |= uint32_t{z3[m][i / 4][i % 4] > 0} << i;
    store_tile<true>(s.z3 + tile * 16 * B::kRowPitch + at.column(), B::kRowPitch, z3[m], at.lane);
  }
}

// dZ3 = dY + [Z3>0] (dY W2) of the same rows and columns, kept as pairs in bf16 until nobody reads relu(Z3)
// any more; db2 += dY and db1 += dZ3, summed over this thread's rows.
template <class Dims, class B>
__device__ __forceinline__ void compute_dz3(const typename B::Shared& s, const WarpPlace<B>& at,
                                            const uint32_t (&positive)[B::kRowTiles],
                                            uint32_t (&dz3)[B::kRowTiles][B::kColumns][2],
                                            PartitionSums<Dims, B>& sums) {
  using W = typename B::Weights;
  SIMT_UNROLL
  for (int m0 = 0; m0 < B::kRowTiles; m0 += B::kTilesAtOnce) {
    float branch[B::kTilesAtOnce][B::kColumns][4] = {};
    SIMT_UNROLL
    for (int k = 0; k < Dims::kE; k += 16) {
      Columns<B::kColumns> b;
      b.load_transposed(s.w.proj2 + k * W::kPitch2 + at.column(), W::kPitch2, at.lane);
      SIMT_UNROLL
      for (int m = 0; m < B::kTilesAtOnce; ++m) {
        const int tile = at.row_group() * B::kRowTiles + m0 + m;
        if (m0 + m >= B::kRowTiles || tile >= B::kRows / 16) continue;
        uint32_t dy[4];
        load_rows(dy, s.dy + tile * 16 * B::kRowPitch + k, B::kRowPitch, at.lane);
        multiply(branch[m], dy, b);
      }
    }
    SIMT_UNROLL
    for (int m = 0; m < B::kTilesAtOnce; ++m) {
      const int tile = at.row_group() * B::kRowTiles + m0 + m;
      if (m0 + m >= B::kRowTiles || tile >= B::kRows / 16) continue;
      const bf16* const dy = s.dy + (tile * 16 + at.lane / 4) * B::kRowPitch + at.column() + at.lane % 4 * 2;
      SIMT_UNROLL
      for (int i = 0; i < B::kColumns * 2; ++i) {
        const int n = i / 2, half = i % 2;
        const float2 g = simt::unpack_bf16(simt::ldv<uint32_t>(dy + half * 8 * B::kRowPitch + n * 8));
        const uint32_t bits = positive[m0 + m] >> (n * 4 + half * 2);
        const float x = g.x + ((bits & 1) != 0 ? branch[m][n][half * 2] : 0.0f);
        const float y = g.y + ((bits & 2) != 0 ? branch[m][n][half * 2 + 1] : 0.0f);
        sums.proj2_b[n][0] += g.x, sums.proj2_b[n][1] += g.y;
        sums.proj1_b[n][0] += x, sums.proj1_b[n][1] += y;
        dz3[m0 + m][n][half] = simt::pack_bf16(x, y);
      }
    }
  }
}

template <class B>
__device__ __forceinline__ void store_dz3(typename B::Shared& s, const WarpPlace<B>& at,
                                          const uint32_t (&dz3)[B::kRowTiles][B::kColumns][2]) {
  SIMT_UNROLL
  for (int m = 0; m < B::kRowTiles; ++m) {
    const int tile = at.row_group() * B::kRowTiles + m;
    if (tile >= B::kRows / 16) continue;
    bf16* const to = s.z3 + (tile * 16 + at.lane / 4) * B::kRowPitch + at.column() + at.lane % 4 * 2;
    SIMT_UNROLL
    for (int i = 0; i < B::kColumns * 2; ++i)
      simt::stv(to + i % 2 * 8 * B::kRowPitch + i / 2 * 8, dz3[m][i / 2][i % 2]);
  }
}

// dW += d_out^T in over all kRows rows: kOutputTiles x 16 outputs by N x 8 inputs a warp.
// in(b, k) loads rows 16k .. 16k+15 of the inputs.
template <class Dims, class B, int N, class In>
__device__ __forceinline__ void add_linear_gradient(float (&sum)[B::kOutputTiles][N][4], const bf16* d_out,
                                                    const WarpPlace<B>& at, In in) {
  for (int k = 0; k < B::kRows / 16; ++k) {
    Columns<N> b;
    in(b, k);
    SIMT_UNROLL
    for (int m = 0; m < B::kOutputTiles; ++m) {
      const int tile = at.row_group() * B::kOutputTiles + m;
      if (tile >= Dims::kE / 16) continue;
      uint32_t a[4];
      const bf16* const out = d_out + k * 16 * B::kRowPitch + tile * 16;
      load_rows_transposed(a, out, out + 8, B::kRowPitch, at.lane);
      multiply(sum[m], a, b);
    }
  }
}

// dZ2 = dZ3 W1, transposed: this warp's kPositionTiles x 16 positions by the Mid heads of its token.
template <class Dims, class B>
__device__ __forceinline__ void compute_dz2(const typename B::Shared& s, const WarpPlace<B>& at,
                                            float (&dz2)[B::kPositionTiles][B::kHeadBlocks][4]) {
  using W = typename B::Weights;
  SIMT_UNROLL
  for (int k = 0; k < Dims::kE; k += 16) {
    Columns<B::kHeadBlocks> b;
    b.load(s.z3 + at.token() * Dims::kMid * B::kRowPitch + k, B::kRowPitch, at.lane);
    SIMT_UNROLL
    for (int m = 0; m < B::kPositionTiles; ++m) {
      uint32_t a[4];
      const bf16* const w = s.w.proj1 + k * W::kPitch1 + at.position() + m * 16;
      load_rows_transposed(a, w, w + 8, W::kPitch1, at.lane);
      multiply(dz2[m], a, b);
    }
  }
}

// Store the partition's sums: the weights' as they lie in the warps; the biases', summed over a warp's rows,
// to shared memory.
template <class Dims, class B>
__device__ __forceinline__ void store_projection_gradients(typename B::Shared& s, float* partial,
                                                           const SasGradientLayout& to,
                                                           const WarpPlace<B>& at,
                                                           const PartitionSums<Dims, B>& sums) {
  const int g = at.lane / 4, t = at.lane % 4;
  SIMT_UNROLL
  for (int m = 0; m < B::kOutputTiles; ++m) {
    const int tile = at.row_group() * B::kOutputTiles + m;
    if (tile >= Dims::kE / 16) continue;
    SIMT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int e = tile * 16 + half * 8 + g;
      float* const w1 = partial + to.proj1_w + e * Dims::kD + at.input_column() + 2 * t;
      float* const w2 = partial + to.proj2_w + e * Dims::kE + at.column() + 2 * t;
      SIMT_UNROLL
      for (int i = 0; i < B::kInputColumns * 2; ++i)
        w1[i / 2 * 8 + i % 2] = sums.proj1[m][i / 2][half * 2 + i % 2];
      SIMT_UNROLL
      for (int i = 0; i < B::kColumns * 2; ++i)
        w2[i / 2 * 8 + i % 2] = sums.proj2[m][i / 2][half * 2 + i % 2];
    }
  }
  float* const shared = reinterpret_cast<float*>(s.raw[0]);  // [bias][row group][E]
  SIMT_UNROLL
  for (int i = 0; i < B::kColumns * 4; ++i) {
    float sum = i % 2 == 0 ? sums.proj1_b[i / 4][i / 2 % 2] : sums.proj2_b[i / 4][i / 2 % 2];
    SIMT_UNROLL
    for (int lanes = 4; lanes < kWarp; lanes *= 2) sum += simt::shuffle_xor(sum, lanes);
    if (g == 0)
      shared[(i % 2 * B::kRowGroups + at.row_group()) * Dims::kE + at.column() + i / 4 * 8 + 2 * t +
             i / 2 % 2] = sum;
  }
}

// And the biases' from there, over the warps.
template <class Dims, class B>
__device__ __forceinline__ void store_projection_bias_gradients(const typename B::Shared& s, float* partial,
                                                                const SasGradientLayout& to) {
  const float* const shared = reinterpret_cast<const float*>(s.raw[0]);
  for (int i = int(threadIdx.x); i < 2 * Dims::kE; i += kSasBwdThreads) {
    const float* const all = shared + i / Dims::kE * B::kRowGroups * Dims::kE + i % Dims::kE;
    float sum = 0;
    for (int group = 0; group < B::kRowGroups; ++group) sum += all[group * Dims::kE];
    partial[(i < Dims::kE ? to.proj1_b : to.proj2_b) + i % Dims::kE] = sum;
  }
}

}  // namespace saslm::cuda
