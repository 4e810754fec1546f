// The parts of attention's backward kernel: what a thread block has in shared memory, how tiles are loaded,
// what is computed of one tile, and how the gradients are stored. attention_bwd.cu puts them together.
//
// Scores lie transposed, keys as rows and queries as columns, 16 keys a warp: what a warp computes of S^T and
// dP^T is at once the operand of its next products (dV += P^T dO, dK += dS^T Q). T is a BwdTile throughout.
#pragma once
#include "kernels/cuda/attention_parts.h"
#include "kernels/cuda/attention_tile.cuh"

namespace saslm::cuda {

// What a kernel is compiled for: the widths of rows, and the keys of a key block, 16 a warp.
template <int Width, int ValueWidth, int Keys>
struct BwdTile {
  static constexpr int E = Width, D = ValueWidth, kKeys = Keys;
  static constexpr int kWarps = kKeys / 16, kThreads = kWarps * kWarp;
  static constexpr int kQueries = attention_bwd_queries(E, kKeys);
  // dQ (kQueries, E) over the warps: 16 rows each, and every kColumnGroups-th pair of fragments.
  static constexpr int kRowGroups = kQueries / 16, kColumnGroups = kWarps / kRowGroups;
  static constexpr int kFragments = E / 8 / kColumnGroups;
  static constexpr bool kTakesWords = attention_bwd_takes_words({E, D}, kKeys);
};

// One query head of a work tile: what it reads and where its gradients go.
struct HeadTask {
  Rows<const bf16> q, k, v, dy;
  const float2* statistics;  // {lse log2 e, delta} of its queries
  Rows<bf16> dq, dk, dv;
  float *dk_partial, *dv_partial;  // of its chunk; absent: straight to dk, dv
  SequenceMask mask;
  float scale_log2, scale_share, share;  // c = scale log2 e; scale / P; 1 / P
  int by_words;                          // rows do not all begin on 16 bytes
  int key_step;                          // from one key block of this split to the next, in keys
  int work_tile, index, count;           // head `index` of `count` of the work tile
};

template <class T>
struct BwdShared {
  bf16 k[T::kKeys * T::E], v[T::kKeys * T::D];               // the key block's
  bf16 q[2][T::kQueries * T::E], dy[2][T::kQueries * T::D];  // two stages of query tiles
  bf16 ds[T::kKeys * T::kQueries];                           // dS^T of all warps
  float2 statistics[2][T::kQueries];                         // {lse log2 e, delta} of both stages
  HeadTask task;
  struct {
    int sees_all, sees_next;
  } last;  // the last query that sees every key of the key block, and that sees the split's next key block
};

// Load: a query tile's q, dy and statistics into a stage, by cp.async, one group.
template <class T>
__device__ __forceinline__ void load_queries(BwdShared<T>& shared, int stage, int first) {
  const HeadTask& task = shared.task;
  const bool by_words = T::kTakesWords && task.by_words != 0;
  load_tile<T::kQueries, T::E, T::kThreads>(shared.q[stage], task.q, first, by_words);
  load_tile<T::kQueries, T::D, T::kThreads>(shared.dy[stage], task.dy, first, by_words);
  const int i = 2 * int(threadIdx.x);
  if (i < T::kQueries) simt::cp_async16(shared.statistics[stage] + i, task.statistics + first + i);
  simt::cp_async_commit();
}

// Load: the key block from `key` on, and the first query tile. Nobody may still read the block before.
template <class T>
__device__ __forceinline__ void load_key_block(BwdShared<T>& shared, int key) {
  const HeadTask& task = shared.task;
  if (threadIdx.x == 0)
    shared.last = {task.mask.last(key), task.key_step > T::kKeys ? AttentionMask::kUnlimited
                                        : key > 0                ? task.mask.last(key - 1)
                                                                 : -1};
  const bool by_words = T::kTakesWords && task.by_words != 0;
  load_tile<T::kKeys, T::E, T::kThreads>(shared.k, task.k, key, by_words);
  load_tile<T::kKeys, T::D, T::kThreads>(shared.v, task.v, key, by_words);
  load_queries(shared, 0, key);
}

// Compute: S^T -> P^T and dP^T -> dS^T of one warp's keys, in place; dS^T also to shared memory.
//   P^T = 2^(c S^T - lse log2 e)   dS^T = P^T (dP^T - delta)
template <int Q>
__device__ __forceinline__ void compute_p_and_ds(float (&p)[1][Q / 8][4], float (&ds)[1][Q / 8][4],
                                                 bf16* tile, const float2* statistics, float scale_log2) {
  const Place<Q> at(warp_of_block() * 16 + row_of(0, 0), 0);
  SIMT_UNROLL
  for (int n = 0; n < Q / 8; ++n) {
    const float4 two = simt::ldv<float4>(statistics + column_of(n, 0));  // {lse, delta} of two queries
    SIMT_UNROLL
    for (int half = 0; half < 2; ++half) {
      float* const pn = p[0][n] + 2 * half;
      float* const dn = ds[0][n] + 2 * half;
      pn[0] = simt::exp2_approx(pn[0] * scale_log2 - two.x);
      pn[1] = simt::exp2_approx(pn[1] * scale_log2 - two.z);
      dn[0] = pn[0] * (dn[0] - two.y);
      dn[1] = pn[1] * (dn[1] - two.w);
      simt::stv(tile + at(8 * half, n) + column_of(0, 0), simt::pack_bf16(dn[0], dn[1]));
    }
  }
}

// This warp's share of dQ of one query tile. Between key blocks it lies in scratch, where each thread reads
// back what it wrote itself.
template <class T>
struct QueryGradient {
  float sum[1][T::kFragments][4];

  // Of the query tile: this warp's first row and column.
  __device__ __forceinline__ static int row() { return warp_of_block() % T::kRowGroups * 16; }
  __device__ __forceinline__ static int column() { return warp_of_block() / T::kRowGroups * 16; }
  // Where a thread's share begins in a block's scratch.
  __device__ __forceinline__ static int64_t scratch_offset() {
    return (warp_of_block() * T::kFragments * kWarp + lane_of_warp()) * 4;
  }

  __device__ __forceinline__ void clear() {
    SIMT_UNROLL
    for (int n = 0; n < T::kFragments; ++n) SIMT_UNROLL
    for (int e = 0; e < 4; ++e) sum[0][n][e] = 0;
  }
  // What the key blocks before left of the query tile from `first` on; zeros where there was none.
  __device__ __forceinline__ void load_or_clear(const float* own, int first, bool started) {
    own += int64_t(first) * T::E;
    SIMT_UNROLL
    for (int n = 0; n < T::kFragments; ++n) {
      const float4 v = started ? simt::ldv<float4>(own + n * kWarp * 4) : float4{0, 0, 0, 0};
      sum[0][n][0] = v.x, sum[0][n][1] = v.y, sum[0][n][2] = v.z, sum[0][n][3] = v.w;
    }
  }
  __device__ __forceinline__ void store(float* own, int first) const {
    own += int64_t(first) * T::E;
    SIMT_UNROLL
    for (int n = 0; n < T::kFragments; ++n) {
      if constexpr (T::E + T::D < 320)
        simt::stv_global(own + n * kWarp * 4, float4{sum[0][n][0], sum[0][n][1], sum[0][n][2], sum[0][n][3]});
      else  // the widest tile has no registers left: it would spill
        simt::stv(own + n * kWarp * 4, float4{sum[0][n][0], sum[0][n][1], sum[0][n][2], sum[0][n][3]});
    }
  }
  __device__ __forceinline__ void add(const QueryGradient& x) {
    SIMT_UNROLL
    for (int n = 0; n < T::kFragments; ++n) SIMT_UNROLL
    for (int e = 0; e < 4; ++e) sum[0][n][e] += x.sum[0][n][e];
  }
  // The complete sum, times `factor`, to dq.
  __device__ __forceinline__ void store_result(const Rows<bf16>& dq, int first, float factor) const {
    SIMT_UNROLL
    for (int half = 0; half < 2; ++half)
      store_row<T::kColumnGroups>(dq, first + row() + row_of(0, 2 * half), column(), sum[0], half, factor);
  }
};

// Store: dk or dv of a warp's 16 keys, times `factor`, to `out`; or to the chunk's partial, which its first
// head sets (=) and the others add to (+=).
template <int N>
__device__ __forceinline__ void store_key_gradient(const Rows<bf16>& out, float* partial, bool add,
                                                   const float (&x)[1][N / 8][4], int key, float factor) {
  SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int row = key + warp_of_block() * 16 + row_of(0, 2 * half);
    if (!partial) {
      store_row(out, row, 0, x[0], half, factor);
    } else if (row < out.count) {
      float* const to = partial + int64_t(row) * out.width + column_of(0, 0);
      SIMT_UNROLL
      for (int n = 0; n < N / 8; ++n)
        if (n * 8 + column_of(0, 0) < out.width) {
          const float2 before = add ? simt::ldv<float2>(to + n * 8) : float2{0, 0};
          simt::stv(to + n * 8,
                    float2{before.x + x[0][n][2 * half] * factor, before.y + x[0][n][2 * half + 1] * factor});
        }
    }
  }
}

}  // namespace saslm::cuda
