// The parts that attention's forward and backward on tensor cores share: rows of one head, tiles of them in
// shared memory, fragments and their products, masking of a tile, the softmax of a tile.
//
// A tile has rows of W elements. Their 16-byte chunks are permuted within a row, so that the same chunk of 8
// neighbouring rows, which is what ldmatrix reads at once, lies in 8 different groups of banks:
//
//   W a multiple of 64   chunk ^ (row % 8)           a row begins at bank 0
//   else, of 32          chunk ^ (row / 2 % 4)       odd rows begin half way through the banks
//   else, of 16          chunk ^ (row / 4 % 2)       four rows fill the banks once
#pragma once
#include "kernels/attention.h"
#include "kernels/simt/simt.h"

namespace saslm::cuda {

using simt::kWarp;

constexpr float kLog2e = 1.44269504088896341f;

// For blocks of one dimension; computed unsigned, so that / and % are shifts.
__device__ __forceinline__ int lane_of_warp() {
  return int(threadIdx.x % kWarp);
}
__device__ __forceinline__ int warp_of_block() {
  return int(threadIdx.x / kWarp);
}

// Whether every row begins and ends on so many bytes.
template <int kBytes = 16, class T>
bool in_vectors(const Heads<T>& x) {
  constexpr int64_t n = kBytes / int64_t(sizeof(T));
  return reinterpret_cast<uintptr_t>(x.data) % kBytes == 0 && x.D % n == 0 && x.b_stride % n == 0 &&
         x.t_stride % n == 0 && x.h_stride % n == 0;
}

// The rows of one head of one sequence.
template <class T>
struct Rows {
  T* data;
  int64_t stride;
  int count, width;

  __device__ __forceinline__ Rows(const Heads<T>& x, int64_t b, int64_t h)
      : data(x.at(b, 0, h)), stride(x.t_stride), count(int(x.T)), width(int(x.D)) {}
  __device__ __forceinline__ T* operator[](int row) const { return data + int64_t(row) * stride; }
};

template <int W>
constexpr int kGroup = W % 64 == 0   ? 8
                       : W % 32 == 0 ? 4
                                     : 2;  // chunks that are permuted among each other

template <int W>
__device__ __forceinline__ int place(int row, int chunk) {
  static_assert(W % 16 == 0);
  return row * W + (chunk ^ row / (8 / kGroup<W>) % kGroup<W>)*8;
}

// A lane's address in a tile, (row, chunk). operator()(r, c): the address r rows, a multiple of 8, and c
// chunks further on; c is a constant that shares no bit with `chunk`. (Left to itself the compiler keeps
// each address in a register.)
template <int W>
struct Place {
  int origin;

  __device__ __forceinline__ Place(int row, int chunk) : origin(place<W>(row, chunk)) {}
  __device__ __forceinline__ int operator()(int row, int chunk) const {
    constexpr int G = kGroup<W>;
    return (origin ^ (chunk % G * 8)) + chunk / G * G * 8 + row * W;
  }
};

// load_tile for rows that begin on 4 bytes but not on 16: copies of 4 bytes, 16 lanes a row.
template <int kRows, int W, int kThreads>
__device__ __forceinline__ void load_tile_by_words(bf16* tile, const Rows<const bf16>& rows, int first) {
  constexpr int kLanes = 16, kStep = kThreads / kLanes;
  static_assert(kRows % kStep == 0 && kStep % 8 == 0 && W % 32 == 0);
  const int thread = simt::launder(int(threadIdx.x));  // no registers are kept for this between tiles
  const int row = thread / kLanes, chunk = thread % kLanes / 4;
  const int word = thread % 4 * 2, column = chunk * 8 + word;
  const Place<W> to(row, chunk);
  SIMT_ROLLED
  for (int r = 0; r < kRows; r += kStep) {
    const bf16* const from = rows[first + row + r] + column;
    const int width = first + row + r < rows.count ? rows.width : 0;
    SIMT_UNROLL
    for (int c = 0; c < W / 8; c += 4)
      simt::cp_async4(tile + to(r, c) + word, from + c * 8, column + c * 8 < width);
  }
}

// Loads rows first .. first + kRows - 1 into a tile by cp.async, zeros for columns past the head's width and
// rows past its end. A thread's chunks lie whole groups and multiples of 8 rows apart, so that all its
// addresses differ by constants.
template <int kRows, int W, int kThreads>
__device__ __forceinline__ void load_tile(bf16* tile, const Rows<const bf16>& rows, int first,
                                          bool by_words) {
  if (by_words) {
    load_tile_by_words<kRows, W, kThreads>(tile, rows, first);
    return;
  }
  constexpr int kLanes = std::max(4, kThreads / kRows), kStep = kThreads / kLanes;
  static_assert(kRows % kStep == 0 && kLanes <= kGroup<W>);
  const int row = int(threadIdx.x / kLanes), chunk = int(threadIdx.x % kLanes);
  const Place<W> to(row, chunk);
  const bf16* const from = rows[first + row] + chunk * 8;
  SIMT_UNROLL
  for (int r = 0; r < kRows; r += kStep) SIMT_UNROLL
  for (int c = 0; c < W / 8; c += kLanes) {
    const bool valid = first + row + r < rows.count && (chunk + c) * 8 < rows.width;
    simt::cp_async16(tile + to(r, c), from + r * rows.stride + c * 8, valid);
  }
}

// Fragments. M x N of them make a tile of 16 M rows and 8 N columns, held by one warp (layouts:
// simt/cpu_mma.h). Operand a of a product is a function of (m, k) that fills one fragment, from shared memory
// or from registers.

// A lane's addresses for ldmatrix_x4:
//   place_a        one fragment of a, from row `row` of its tile on; columns 16 k at (0, 2 k)
//   place_a_trans  the same where the rows of the tile are k; columns 16 k at (16 k, 0)
//   place_b        two fragments of b where the rows of the tile are columns of the product
//   place_b_trans  the same where the rows of the tile are k
template <int W>
__device__ __forceinline__ Place<W> place_a(int row) {
  const int lane = lane_of_warp();
  return {row + lane % 16, lane / 16};
}
template <int W>
__device__ __forceinline__ Place<W> place_a_trans(int row) {
  const int lane = lane_of_warp();
  return {lane / 16 * 8 + lane % 8, row / 8 + lane / 8 % 2};
}
template <int W>
__device__ __forceinline__ Place<W> place_b() {
  const int lane = lane_of_warp();
  return {lane / 16 * 8 + lane % 8, lane / 8 % 2};
}
template <int W>
__device__ __forceinline__ Place<W> place_b_trans(int chunk = 0) {
  const int lane = lane_of_warp();
  return {lane % 16, chunk + lane / 16};
}

// A fragment of a from a product's result in registers: its columns 16 k .. 16 k + 15, rounded to bf16.
template <int N>
__device__ __forceinline__ void round_a(uint32_t (&a)[4], const float (&x)[N][4], int k) {
  a[0] = simt::pack_bf16(x[2 * k][0], x[2 * k][1]);
  a[1] = simt::pack_bf16(x[2 * k][2], x[2 * k][3]);
  a[2] = simt::pack_bf16(x[2 * k + 1][0], x[2 * k + 1][1]);
  a[3] = simt::pack_bf16(x[2 * k + 1][2], x[2 * k + 1][3]);
}

// d += a b^T: column n of d belongs to row n of the tile b.
template <int W, int K, int M, int N, class A>
__device__ __forceinline__ void multiply_rows(float (&d)[M][N][4], const A& a, const bf16* b) {
  static_assert(N % 2 == 0);
  const Place<W> at = place_b<W>();
  SIMT_UNROLL
  for (int k = 0; k < K; ++k) {
    uint32_t fa[M][4];
    SIMT_UNROLL
    for (int m = 0; m < M; ++m) a(fa[m], m, k);
    SIMT_UNROLL
    for (int n = 0; n < N; n += 2) {
      uint32_t fb[4];
      simt::ldmatrix_x4(fb, b + at(n * 8, 2 * k));
      SIMT_UNROLL
      for (int m = 0; m < M; ++m) {
        simt::mma_m16n8k16(d[m][n], fa[m], fb[0], fb[1]);
        simt::mma_m16n8k16(d[m][n + 1], fa[m], fb[2], fb[3]);
      }
    }
  }
}

// d += a b over the 16 rows of the tile b from row 16 k on, for every kSpread-th pair of columns of
// fragments from `at` on.
template <int W, int kSpread = 1, int M, int N, class A>
__device__ __forceinline__ void multiply_step(float (&d)[M][N][4], const A& a, const bf16* b, int k,
                                              const Place<W>& at) {
  static_assert(N % 2 == 0);
  uint32_t fa[M][4];
  SIMT_UNROLL
  for (int m = 0; m < M; ++m) a(fa[m], m, k);
  SIMT_UNROLL
  for (int n = 0; n < N; n += 2) {
    uint32_t fb[4];
    simt::ldmatrix_x4_trans(fb, b + at(16 * k, n * kSpread));
    SIMT_UNROLL
    for (int m = 0; m < M; ++m) {
      simt::mma_m16n8k16(d[m][n], fa[m], fb[0], fb[1]);
      simt::mma_m16n8k16(d[m][n + 1], fa[m], fb[2], fb[3]);
    }
  }
}
template <int W, int K, int M, int N, class A>
__device__ __forceinline__ void multiply(float (&d)[M][N][4], const A& a, const bf16* b) {
  const Place<W> at = place_b_trans<W>();
  SIMT_UNROLL
  for (int k = 0; k < K; ++k) multiply_step<W>(d, a, b, k, at);
}

// The row and column of element e of fragment (m, n) in the warp's tile.
__device__ __forceinline__ int row_of(int m, int e) {
  return m * 16 + lane_of_warp() / 4 + e / 2 * 8;
}
__device__ __forceinline__ int column_of(int n, int e) {
  return n * 8 + lane_of_warp() % 4 * 2 + e % 2;
}

// Stores a lane's share of row `row`, times `factor`: the upper (half = 0) or lower half of fragments, which
// lie kSpread pairs of fragments apart, from column `column` on. Widths are even.
template <int kSpread = 1, int N>
__device__ __forceinline__ void store_row(const Rows<bf16>& to, int row, int column, const float (&x)[N][4],
                                          int half, float factor) {
  if (row >= to.count) return;
  bf16* const at = to[row] + (column + column_of(0, 0));
  const int width = to.width - (column + column_of(0, 0));
  SIMT_UNROLL
  for (int n = 0; n < N; ++n) {
    const int step = (n / 2 * kSpread * 2 + n % 2) * 8;
    if (step < width)
      simt::stv(at + step, simt::pack_bf16(x[n][2 * half] * factor, x[n][2 * half + 1] * factor));
  }
}

// Masking: hidden scores become -infinity. Rows are queries, columns are keys.
// Keys after the query. `ahead` is the first key's position less the first query's.
template <int M, int N>
__device__ __forceinline__ void hide_future_keys(float (&s)[M][N][4], int ahead) {
  const int behind = row_of(0, 0) - column_of(0, 0) - ahead;
  SIMT_UNROLL
  for (int m = 0; m < M; ++m) SIMT_UNROLL
  for (int n = 0; n < N; ++n) SIMT_UNROLL
  for (int e = 0; e < 4; ++e)
    if (behind < n * 8 + e % 2 - m * 16 - e / 2 * 8) s[m][n][e] = -INFINITY;
}
// Keys before the first that the query sees. `query` and `key` are the positions of the tile's first ones.
template <int M, int N>
__device__ __forceinline__ void hide_past_keys(float (&s)[M][N][4], const SequenceMask& mask, int query,
                                               int key) {
  SIMT_UNROLL
  for (int m = 0; m < M; ++m) SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int first = mask.first(query + row_of(m, 2 * half)) - key - column_of(0, 0);
    SIMT_UNROLL
    for (int n = 0; n < N; ++n) SIMT_UNROLL
    for (int e = 0; e < 2; ++e)
      if (n * 8 + e < first) s[m][n][2 * half + e] = -INFINITY;
  }
}
// The same two where rows are keys and columns are queries.
template <int N>
__device__ __forceinline__ void hide_earlier_queries(float (&s)[1][N][4], int ahead) {
  const int behind = column_of(0, 0) - row_of(0, 0) - ahead;
  SIMT_UNROLL
  for (int n = 0; n < N; ++n) SIMT_UNROLL
  for (int e = 0; e < 4; ++e)
    if (behind < e / 2 * 8 - n * 8 - e % 2) s[0][n][e] = -INFINITY;
}
template <int N>
__device__ __forceinline__ void hide_later_queries(float (&s)[1][N][4], const SequenceMask& mask, int key,
                                                   int query) {
  const int lane = simt::launder(lane_of_warp());  // no registers are kept for this between tiles
  SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int last = mask.last(key + lane / 4 + half * 8) - query - lane % 4 * 2;
    SIMT_UNROLL
    for (int n = 0; n < N; ++n) SIMT_UNROLL
    for (int e = 0; e < 2; ++e)
      if (n * 8 + e > last) s[0][n][2 * half + e] = -INFINITY;
  }
}

// The maximum and the sum over the four lanes that share a row.
__device__ __forceinline__ float row_max(float x) {
  x = fmaxf(x, simt::shuffle_xor(x, 1));
  return fmaxf(x, simt::shuffle_xor(x, 2));
}
__device__ __forceinline__ float row_sum(float x) {
  x += simt::shuffle_xor(x, 1);
  return x + simt::shuffle_xor(x, 2);
}

// The running maximum and sum of a lane's 2 M rows; until the end the sum is that of this lane's columns
// alone.
template <int M>
struct Softmax {
  float top[M][2], sum[M][2];

  __device__ __forceinline__ Softmax() {
    SIMT_UNROLL
    for (int m = 0; m < M; ++m) SIMT_UNROLL
    for (int half = 0; half < 2; ++half) top[m][half] = -kMost, sum[m][half] = 0;
  }
  // The maximum before any key is -kMost, not -infinity: a row's first keys may all be hidden, and -infinity
  // less itself is no number; so 2^(hidden - top) is 0.
  static constexpr float kMost = 3.402823466e38f;

  // Scores become 2^(scale_log2 s - top); the sums so far, here and in o, are scaled to the new maximum.
  template <int N, int D>
  __device__ __forceinline__ void step(float (&s)[M][N][4], float (&o)[M][D][4], float scale_log2) {
    SIMT_UNROLL
    for (int m = 0; m < M; ++m) SIMT_UNROLL
    for (int half = 0; half < 2; ++half) {
      float largest = s[m][0][2 * half];
      SIMT_UNROLL
      for (int n = 0; n < N; ++n) largest = fmaxf(largest, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
      const float now = fmaxf(top[m][half], row_max(largest) * scale_log2);
      const float shrink = simt::exp2_approx(top[m][half] - now);
      top[m][half] = now;
      sum[m][half] *= shrink;
      SIMT_UNROLL
      for (int d = 0; d < D; ++d) o[m][d][2 * half] *= shrink, o[m][d][2 * half + 1] *= shrink;
      SIMT_UNROLL
      for (int n = 0; n < N; ++n) SIMT_UNROLL
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        s[m][n][e] = simt::exp2_approx(s[m][n][e] * scale_log2 - now);
        sum[m][half] += s[m][n][e];
      }
    }
  }
};

}  // namespace saslm::cuda
