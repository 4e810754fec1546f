// Products of a thread block over matrices in its shared memory whose sizes are known at run time:
//
//   sum[m][n] (+)= sum_k a[m][k] b[k][n]     rows m: blocks of 8 rows of every token; columns n: tiles of 8
//
// The block's warps share the result in warp tiles of up to 4 blocks of 8 rows (narrow tiles: 8) by 6 tiles
// of 8 columns. The columns of a warp tile are a template argument, and a stage's columns are spread over
// warp tiles as evenly as they go (5 to one of 5, 12 to two of 6), so that no fragment is guarded but the
// last. Rows go by 8, too: a fragment's upper and lower 8 may be of two tokens.
#pragma once
#include "kernels/cuda/sas_tile.cuh"

namespace saslm::cuda::wide {

constexpr int kWarps = 8, kThreads = kWarps * kWarp;
constexpr int kMostAcross = 6, kMostOfHalves = 5;

// Halves: the first N/2 tiles of columns, and those `gap` tiles behind them, which rope turns together.
template <int N, bool kHalves>
struct WarpTile {
  static constexpr int kColumns = N, kEach = kHalves ? N / 2 : N;
  static constexpr int kDown = N <= 2 ? 4 : 2, kBlocks = 2 * kDown;  // fragments of 16 rows; blocks of 8
  float sum[kDown][N][4];
  // Of its blocks of 8 rows, whose each is, and which of that token's; there are `down`, then the last one
  // again.
  int token[kBlocks], block[kBlocks], down;
  int n, gap;  // its first tile of 8 columns
  bool full;   // it has kEach tiles of columns, not one less

  // The tile of columns k, for k that differ by lane, too; the last one for one that is not there.
  __device__ __forceinline__ int column(int k) const {
    const bool second = kHalves && k >= kEach;
    return n + min(second ? k - kEach : k, full ? kEach - 1 : kEach - 2) + (second ? gap : 0);
  }
  __device__ __forceinline__ bool there(int k) const { return k % kEach < kEach - 1 || full; }

  __device__ __forceinline__ void start() {
    SIMT_UNROLL
    for (int m = 0; m < kDown; ++m) SIMT_UNROLL
    for (int k = 0; k < N; ++k) SIMT_UNROLL
    for (int i = 0; i < 4; ++i) sum[m][k][i] = 0;
  }
  // With a bias for each column: `bias` is that of column 0 of tile 0.
  __device__ __forceinline__ void start(const float* bias) {
    const float* const first = bias + n * 8 + simt::lane_id() % 4 * 2;
    SIMT_UNROLL
    for (int k = 0; k < N; ++k) {
      const bool second = kHalves && k >= kEach;
      const float2 b = simt::ldv<float2>((second ? first + gap * 8 : first) + k % kEach * 8);
      SIMT_UNROLL
      for (int m = 0; m < kDown; ++m) {
        sum[m][k][0] = sum[m][k][2] = b.x;
        sum[m][k][1] = sum[m][k][3] = b.y;
      }
    }
  }
};

// k goes `outer` times over `inner` steps of 16, in either order; what lies between them in a and in b.
struct Steps {
  int outer = 1, inner = 1, a_outer = 0, a_inner = 0, b_outer = 0, b_inner = 0;
};

// tile.sum += a b. a(token, block) is where 8 rows begin, stored [m][k], or [k][m] (kA); b(tile) where 8
// columns begin, stored [n][k], or [k][n] (kB). kHalf: of a step's 16 k only the lower 8 are there.
template <bool kA, bool kB, bool kHalf = false, int N, bool kHalves, class A, class B>
__device__ __forceinline__ void add(WarpTile<N, kHalves>& tile, A a, int a_pitch, B b, int b_pitch, Steps s) {
  if (s.inner < s.outer)
    s = {s.inner, s.outer, s.a_inner, s.a_outer, s.b_inner, s.b_outer};  // the longer loop within
  constexpr int kUpper = kHalf ? 0 : 8;
  const int lane = simt::launder(simt::lane_id());
  const bool odd = lane / 8 % 2 != 0;
  const int in_a = lane % 8 * a_pitch + lane / 16 * kUpper * (kA ? a_pitch : 1);
  const int in_b = lane % 8 * b_pitch + lane / 8 % 2 * kUpper * (kB ? b_pitch : 1);
  constexpr int kDown = WarpTile<N, kHalves>::kDown;
  simt::MatrixRows from_a[kDown], from_b[(N + 1) / 2];
  SIMT_UNROLL
  for (int m = 0; m < kDown; ++m)
    from_a[m] = simt::matrix_rows(
        a(odd ? tile.token[2 * m + 1] : tile.token[2 * m], odd ? tile.block[2 * m + 1] : tile.block[2 * m]) +
        in_a);
  SIMT_UNROLL
  for (int k = 0; k < N; k += 2)
    from_b[k / 2] = simt::matrix_rows(b(tile.column(k + 1 < N ? k + lane / 16 : k)) + in_b);
  constexpr int kBytes = sizeof(bf16);
  int a_outer = 0, b_outer = 0;
  SIMT_ROLLED
  for (int o = 0; o < s.outer; ++o, a_outer += s.a_outer * kBytes, b_outer += s.b_outer * kBytes) {
    int at_b = b_outer;
    const int end = a_outer + s.inner * s.a_inner * kBytes;
    SIMT_ROLLED
    for (int at_a = a_outer; at_a != end; at_a += s.a_inner * kBytes, at_b += s.b_inner * kBytes) {
      Columns<N> columns;
      SIMT_UNROLL
      for (int k = 0; k + 1 < N; k += 2) {
        if constexpr (kB)
          simt::ldmatrix_x4_trans(columns.r[k / 2], from_b[k / 2] + at_b);
        else
          simt::ldmatrix_x4(columns.r[k / 2], from_b[k / 2] + at_b);
      }
      if constexpr (N % 2 == 1) {
        uint32_t last[2];
        if constexpr (kB)
          simt::ldmatrix_x2_trans(last, from_b[N / 2] + at_b);
        else
          simt::ldmatrix_x2(last, from_b[N / 2] + at_b);
        columns.r[N / 2][0] = last[0], columns.r[N / 2][1] = last[1];
      }
      SIMT_UNROLL
      for (int m = 0; m < kDown; ++m) {
        if (m > 0 && tile.down <= 2 * m) continue;
        uint32_t rows[4];
        if constexpr (kA)
          simt::ldmatrix_x4_trans(rows, from_a[m] + at_a);
        else
          simt::ldmatrix_x4(rows, from_a[m] + at_a);
        if constexpr (kHalf) rows[2] = rows[3] = 0;
        multiply(tile.sum[m], rows, columns);
      }
    }
  }
}

// to = row(token, row of it) is what give(to, column of the warp tile, two neighbouring results) gets.
template <int N, bool kHalves, class Row, class Give>
__device__ __forceinline__ void each_result(const WarpTile<N, kHalves>& tile, Row row, Give give) {
  SIMT_UNROLL
  for (int i = 0; i < tile.kBlocks; ++i) {
    if (i >= tile.down) continue;
    const auto to = row(tile.token[i], tile.block[i] * 8 + simt::lane_id() / 4);
    SIMT_UNROLL
    for (int k = 0; k < N; ++k)
      if (tile.there(k)) give(to, k * 8, tile.sum[i / 2][k][i % 2 * 2], tile.sum[i / 2][k][i % 2 * 2 + 1]);
  }
}

template <int N, bool kHalves, class F>
__device__ __forceinline__ void each_warp_tile_of(int tokens, int rows, int n_tiles, int across,
                                                  bool one_token, F& f) {
  constexpr int kBlocks = WarpTile<N, kHalves>::kBlocks;
  const int each = int(ceil_div(rows, kBlocks));  // warp tiles of one token
  const int down = one_token ? tokens * each : int(ceil_div(tokens * rows, kBlocks));
  SIMT_ROLLED
  for (int i = simt::warp_id(); i < down * across; i += kWarps) {
    WarpTile<N, kHalves> tile;
    const int part = i % across, place = i / across;
    tile.n = n_tiles * part / across;
    tile.full = n_tiles * (part + 1) / across - tile.n == tile.kEach;
    tile.gap = n_tiles;
    int token = one_token ? place / each : place * kBlocks / rows;
    int block = one_token ? place % each * kBlocks : place * kBlocks % rows;
    tile.down = min(kBlocks, one_token ? rows - block : tokens * rows - place * kBlocks);
    SIMT_UNROLL
    for (int k = 0; k < kBlocks; ++k) {
      tile.token[k] = token, tile.block[k] = block;
      if (k + 1 < tile.down && ++block == rows) block = 0, ++token;
    }
    f(tile);
  }
}

// f(tile) for every warp tile of a result of `rows` blocks of 8 rows of each token and n_tiles of 8 columns.
// A warp always has the same ones. one_token: all rows of a warp tile are of one token.
template <int N = 1, class F>
__device__ __forceinline__ void each_warp_tile(int tokens, int rows, int n_tiles, F f,
                                               bool one_token = false) {
  const int across = int(ceil_div(n_tiles, kMostAcross)), width = int(ceil_div(n_tiles, across));
  if (N == width) return each_warp_tile_of<N, false>(tokens, rows, n_tiles, across, one_token, f);
  if constexpr (N < kMostAcross) each_warp_tile<N + 1>(tokens, rows, n_tiles, f, one_token);
}
// The same of 2 n_tiles, where tile n and tile n + n_tiles are to be in one warp tile.
template <int N = 1, class F>
__device__ __forceinline__ void each_warp_tile_of_halves(int tokens, int rows, int n_tiles, F f) {
  const int across = int(ceil_div(n_tiles, kMostOfHalves)), width = int(ceil_div(n_tiles, across));
  if (N == width) return each_warp_tile_of<2 * N, true>(tokens, rows, n_tiles, across, false, f);
  if constexpr (N < kMostOfHalves) each_warp_tile_of_halves<N + 1>(tokens, rows, n_tiles, f);
}

}  // namespace saslm::cuda::wide
