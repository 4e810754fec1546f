// Small matrix products with the result held in registers: the inner loop of attention and of the SAS
// simulation, whose operands are tiles in cache, transposed, shifted (convolution) or both. Large plain
// products go to the library (matmul.cpp).
//
//   C[m][n] (= | +=) sum_{i<outer, j<inner} A(m, i, j) * B(i, j)[n]      0 <= m < M, 0 <= n < N
//
// A is read one scalar at a time, B one row of N at a time. A two-level sum writes a convolution as a
// product: i runs over input channels, j over taps, and B(i, j) is channel i's line shifted by j.
//
// N must be a multiple of kLanes<T>; pad rows, no alignment is asked. Every element of C is summed in the
// order (i, j) whatever M and N are, starting from C when accumulating, so tilings do not change a bit.
#pragma once
#include "kernels/cpu/simd.h"

namespace saslm::cpu {

template <class T>
struct TileGemm {
  int64_t M = 0, N = 0;
  int64_t outer = 0, inner = 1;
  const T* a = nullptr;
  int64_t a_m = 0, a_outer = 0, a_inner = 0;  // element strides
  const T* b = nullptr;
  int64_t b_outer = 0, b_inner = 0;
  T* c = nullptr;
  int64_t c_m = 0;
  bool accumulate = false;
};

namespace tile_gemm_detail {

template <class T, int kRows, int kVecs>
inline void block(const TileGemm<T>& g, int64_t m, int64_t n) {
  constexpr int64_t W = kLanes<T>;
  Simd<T> sum[kRows][kVecs];
  T* const c = g.c + m * g.c_m + n;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) sum[r][v] = g.accumulate ? load(c + r * g.c_m + v * W) : Simd<T>{};

  const T* a_i = g.a + m * g.a_m;
  const T* b_i = g.b + n;
  for (int64_t i = 0; i < g.outer; ++i, a_i += g.a_outer, b_i += g.b_outer) {
    const T* a = a_i;
    const T* b = b_i;
    for (int64_t j = 0; j < g.inner; ++j, a += g.a_inner, b += g.b_inner) {
      Simd<T> row[kVecs];
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) row[v] = load(b + v * W);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; ++v) sum[r][v] += a[r * g.a_m] * row[v];
    }
  }

#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) store(c + r * g.c_m + v * W, sum[r][v]);
}

// All M rows of one column strip: full blocks of kRows, then one smaller block.
template <class T, int kRows, int kVecs>
inline void strip(const TileGemm<T>& g, int64_t n) {
  int64_t m = 0;
  for (; m + kRows <= g.M; m += kRows) block<T, kRows, kVecs>(g, m, n);
  switch (g.M - m) {
    case 7:
      if constexpr (kRows > 7) block<T, 7, kVecs>(g, m, n);
      break;
    case 6:
      if constexpr (kRows > 6) block<T, 6, kVecs>(g, m, n);
      break;
    case 5:
      block<T, 5, kVecs>(g, m, n);
      break;
    case 4:
      block<T, 4, kVecs>(g, m, n);
      break;
    case 3:
      block<T, 3, kVecs>(g, m, n);
      break;
    case 2:
      block<T, 2, kVecs>(g, m, n);
      break;
    case 1:
      block<T, 1, kVecs>(g, m, n);
      break;
    default:
      break;
  }
}

}  // namespace tile_gemm_detail

// Strips of four, three, two or one vectors. Sums and a row of B fill the registers without spilling: of 32,
// 6x4 and 8x3; of 16, 4x3 and 6x2.
template <class T>
void tile_gemm(const TileGemm<T>& g) {
  namespace d = tile_gemm_detail;
  constexpr bool kMany = kVectorBytes == 64;
  int64_t n = 0;
  for (int64_t vecs = g.N / kLanes<T>; vecs > 0;) {
    // 6 = 3+3 and 5 = 3+2 waste fewer loads than 4+2 and 4+1; where four do not fit, 4 = 2+2.
    const bool by_three = vecs == 6 || vecs == 5 || (!kMany && vecs > 4);
    const int64_t take = by_three ? 3 : vecs < 4 ? vecs : kMany ? 4 : 2;
    switch (take) {
      case 4:
        d::strip<T, 6, 4>(g, n);
        break;
      case 3:
        d::strip<T, kMany ? 8 : 4, 3>(g, n);
        break;
      case 2:
        d::strip<T, kMany ? 8 : 6, 2>(g, n);
        break;
      default:
        d::strip<T, 8, 1>(g, n);
        break;
    }
    n += take * kLanes<T>;
    vecs -= take;
  }
}

}  // namespace saslm::cpu
