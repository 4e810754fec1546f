// The tile of attention on a CPU: a block of queries against a block of keys, and the products of the tile
// that forward and backward share.
//
// The scores between the two lie transposed, tile[key][query]: the queries are the lanes of vectors, so the
// softmax needs no sum across lanes, and the block of queries is the only operand that has to be transposed:
//
//   S[k][q]   = sum_e K[k][e] qT[e][q]        forward, and the same bits again in backward
//   O[q][d]  += sum_k P[k][q] V[k][d]         forward
//   dP[k][q]  = sum_d V[k][d] dOT[d][q]       backward, from here on
//   dV[k][d] += sum_q P[k][q] dO[q][d]        dK from dS and Q likewise
//   dQ[q][e] += sum_k dS[k][q] K[k][e]
//
// Rows are packed to whole vectors before use: a stride of a power of two would put all rows of a block into
// a few sets of the cache. What the mask hides is skipped by strips: a strip is one vector of queries.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>

#include "core/dims.h"
#include "kernels/attention_mask.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile_gemm.h"

namespace saslm::cpu::attention {

constexpr int64_t kBlock = 64;  // queries and keys of a tile: 16 KB of float
// Rows prefetched: those of one head lie too far apart for the hardware to guess. Writing dk and dv takes 0.6
// of the time with it (2-core AVX-512 Xeon, 18 heads of 96).
constexpr int64_t kAhead = 8;

// Scratch of a thread that forward and backward have in common.
struct KeyRows;
struct ValueRows;
struct QueryRows;
struct QueryColumns;
struct OutRows;

// A block of queries against a block of keys, which begins at a multiple of kBlock. A strip of queries
// computes only the keys from() .. seen() - 1 of it: those that some query of the strip sees.
template <class T>
struct Block {
  static constexpr int64_t W = kLanes<T>;
  SequenceMask mask;
  int64_t position, queries;  // position of the first query among the keys; how many, up to kBlock
  int64_t first_key, keys;

  int64_t strips() const { return ceil_div(queries, W); }
  int64_t first_seen(int64_t strip) const { return mask.first(int(position + strip * W)); }
  int64_t from(int64_t strip) const { return std::clamp(first_seen(strip) - first_key, int64_t(0), keys); }
  int64_t seen(int64_t strip) const {
    return std::clamp(position + (strip + 1) * W - first_key, int64_t(0), keys);
  }
  // Whether the strip has sums already, of a block of keys further left.
  bool goes_on(int64_t strip) const { return first_seen(strip) < first_key; }

  // Calls f(first, count, strip, end) for the rectangles that cover what is computed: keys first .. first +
  // count - 1 by strips strip .. end - 1. from() and seen() are non-decreasing, so they are few: one where
  // all is visible.
  template <class F>
  void each_rectangle(F f) const {
    int64_t strip = 0, end = 0;
    for (int64_t key = from(0), next; key < keys; key = next) {
      while (strip < strips() && seen(strip) <= key) ++strip;
      while (end < strips() && from(end) <= key) ++end;
      if (strip == strips()) return;
      next = seen(strip);
      if (end < strips()) next = std::min(next, from(end));
      if (strip < end) f(key, next - key, strip, end);
    }
  }
};

// Copies `count` rows of `cols`, times `factor`, to round_up(count) rows of round_up(cols), padded with
// zeros.
template <class T>
void pack_rows(T* out, const T* in, int64_t stride, int64_t count, int64_t cols, T factor) {
  constexpr int64_t W = kLanes<T>;
  const int64_t padded = round_up(cols, W);
  for (int64_t r = 0; r < count; ++r, in += stride, out += padded) {
    int64_t c = 0;
    for (; c + W <= cols; c += W) {
      __builtin_prefetch(in + kAhead * stride + c);
      store(out + c, load(in + c) * factor);
    }
    for (; c < cols; ++c) out[c] = in[c] * factor;
    for (; c < padded; ++c) out[c] = 0;
  }
  std::fill_n(out, (round_up(count, W) - count) * padded, T(0));
}

// Packed rows, transposed: out[col][row], rows of kBlock.
template <class T>
void transpose_rows(T* out, const T* rows, int64_t count, int64_t cols) {
  constexpr int64_t W = kLanes<T>;
  const int64_t padded = round_up(cols, W);
  for (int64_t r = 0; r < count; r += W)
    for (int64_t c = 0; c < cols; c += W) {
      Simd<T> square[W];
      for (int64_t i = 0; i < W; ++i) square[i] = load(rows + (r + i) * padded + c);
      transpose<T>(square);
      for (int64_t i = 0; i < W; ++i) store(out + (c + i) * kBlock + r, square[i]);
    }
}

// tile[k][q] = sum_i rows[k][i] columns[i][q]
template <class T>
void tile_from(const Block<T>& block, T* tile, const T* rows, const T* columns, int64_t width) {
  constexpr int64_t W = kLanes<T>;
  const int64_t padded = round_up(width, W);
  block.each_rectangle([&](int64_t first, int64_t count, int64_t s, int64_t end) {
    tile_gemm<T>({.M = count,
                  .N = (end - s) * W,
                  .outer = 1,
                  .inner = width,
                  .a = rows + first * padded,
                  .a_m = padded,
                  .a_inner = 1,
                  .b = columns + s * W,
                  .b_inner = kBlock,
                  .c = tile + first * kBlock + s * W,
                  .c_m = kBlock});
  });
}

// out[q][c] = sum_k tile[k][q] rows[k][c], or += in a strip that has sums already; neighbouring strips with
// the same keys are one product.
template <class T>
void sum_over_keys(const Block<T>& block, const T* tile, const T* rows, int64_t padded, T* out) {
  constexpr int64_t W = kLanes<T>;
  const auto alike = [&](int64_t s, int64_t t) {
    return block.from(s) == block.from(t) && block.seen(s) == block.seen(t) &&
           block.goes_on(s) == block.goes_on(t);
  };
  for (int64_t s = 0, end; s < block.strips(); s = end) {
    for (end = s + 1; end < block.strips() && alike(s, end);) ++end;
    const int64_t first = block.from(s), count = block.seen(s) - first;
    if (count <= 0) continue;
    tile_gemm<T>({.M = std::min(end * W, block.queries) - s * W,
                  .N = padded,
                  .outer = 1,
                  .inner = count,
                  .a = tile + first * kBlock + s * W,
                  .a_m = 1,
                  .a_inner = kBlock,
                  .b = rows + first * padded,
                  .b_inner = padded,
                  .c = out + s * W * padded,
                  .c_m = padded,
                  .accumulate = block.goes_on(s)});
  }
}

// Sets the scores that the mask hides to -inf.
template <class T>
void hide_unseen(const Block<T>& block, T* tile) {
  constexpr int64_t W = kLanes<T>;
  for (int64_t s = 0; s < block.strips(); ++s) {
    const int64_t first_query = block.position + s * W - block.first_key;  // as an index of keys
    for (int64_t k = std::max(block.from(s), first_query + 1); k < block.seen(s); ++k)
      std::fill_n(tile + k * kBlock + s * W, std::min(W, k - first_query),
                  -std::numeric_limits<T>::infinity());
    for (int64_t q = s * W; q < std::min((s + 1) * W, block.queries); ++q) {
      const int64_t first = block.mask.first(int(block.position + q)) - block.first_key;
      for (int64_t k = block.from(s); k < std::min(first, block.seen(s)); ++k)
        tile[k * kBlock + q] = -std::numeric_limits<T>::infinity();
    }
  }
}

// The beginning of the block that holds the first key that the query at `position` sees.
inline int64_t first_block(const SequenceMask& mask, int64_t position) {
  return mask.first(int(position)) / kBlock * kBlock;
}

// Partial sums of the product of two rows, one in each lane.
template <class T>
Simd<T> dot_lanes(const T* x, const T* y, int64_t n) {
  constexpr int64_t W = kLanes<T>;
  Simd<T> sum{};
  int64_t i = 0;
  for (; i + W <= n; i += W) sum += load(x + i) * load(y + i);
  for (; i < n; ++i) sum[i % W] += x[i] * y[i];
  return sum;
}

// out[r] = x_r . y_r for `count` rows, a vector of rows at a time: transposed, the lanes add up as whole
// vectors. out has round_up(count) elements; those past count are unspecified.
template <class T>
void dot_rows(T* out, const T* x, int64_t x_stride, const T* y, int64_t y_stride, int64_t count, int64_t n) {
  constexpr int64_t W = kLanes<T>;
  for (int64_t first = 0; first < count; first += W) {
    Simd<T> sums[W];
    for (int64_t i = 0; i < W; ++i) {
      const int64_t r = std::min(first + i, count - 1);
      sums[i] = dot_lanes(x + r * x_stride, y + r * y_stride, n);
    }
    transpose<T>(sums);
    for (int64_t half = W / 2; half > 0; half /= 2)
      for (int64_t i = 0; i < half; ++i) sums[i] += sums[i + half];
    store(out + first, sums[0]);
  }
}

}  // namespace saslm::cpu::attention
