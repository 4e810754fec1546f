// Contract: kernels/attention.h.
//
// A task takes its heads one after the other, a block of queries against a block of keys at a time. The tile
// of scores between the two lies transposed, tile[key][query]: the queries are the lanes, so the softmax
// needs no sum across lanes, and the block of queries is the only operand that has to be transposed:
//
//   S[k][q]   = sum_e K[k][e] qT[e][q]        forward, and the same bits again in backward
//   O[q][d]  += sum_k P[k][q] V[k][d]         forward
//   dP[k][q]  = sum_d V[k][d] dOT[d][q]       backward, from here on
//   dV[k][d] += sum_q P[k][q] dO[q][d]        dK from dS and Q likewise
//   dQ[q][e] += sum_k dS[k][q] K[k][e]
//
// Rows are packed to whole vectors before use: a stride of a power of two would put all rows of a block into
// a few sets of the cache. What the mask hides is skipped by strips of one vector of queries.
#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/dims.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile_gemm.h"

namespace saslm::cpu {
namespace {

constexpr int64_t kBlock = 64;      // queries and keys of a tile: 16 KB of float
constexpr int64_t kFewQueries = 3;  // up to here, packing keys and values costs more than it saves (measured)
constexpr int64_t kWantedTasks = 16;  // a shape with fewer tasks is split further, to keep the threads busy
// Rows prefetched: those of one head lie too far apart for the hardware to guess. Writing dk and dv takes 0.6
// of the time with it (2-core AVX-512 Xeon, 18 heads of 96).
constexpr int64_t kAhead = 8;

// Which query heads belong together: a cluster is the smallest set of query heads that shares no k or v head
// with the rest.
struct HeadClusters : AttentionHeads {
  int64_t width;

  explicit HeadClusters(const AttentionHeads& heads) : AttentionHeads(heads) {
    // Heads repeat their v heads every `modulo`; if groups of k divide that, their borders coincide every
    // `width`.
    width = modulo % k_group == 0 ? std::lcm(k_group, v_group) : modulo;
  }

  int64_t clusters() const { return modulo / width; }
  int64_t cluster_size() const { return H / clusters(); }
  int64_t member(int64_t cluster, int64_t i) const {
    return i / width * modulo + cluster * width + i % width;
  }

  using Reading = int (AttentionHeads::*)(int) const;  // k or v
  // Whether one of the members [first, last) of a cluster reads k (v) head `group`.
  bool reads(Reading of, int64_t group, int64_t cluster, int64_t first, int64_t last) const {
    for (int64_t i = first; i < last; ++i)
      if ((this->*of)(int(member(cluster, i))) == group) return true;
    return false;
  }
};

// A block of queries against a block of keys, which is one of those that begin at multiples of kBlock. A
// strip of queries computes the keys from() .. seen() - 1 of it and no others: those that some query of the
// strip sees.
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
  // Whether it has seen keys of a block further left, so that its sums go on.
  bool goes_on(int64_t strip) const { return first_seen(strip) < first_key; }

  // f(first, count, strip, end): keys first .. first + count - 1 are computed by strips strip .. end - 1.
  // Both ends of what a strip computes rise with it, so that these are few rectangles: one, where all is
  // visible.
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

// `count` rows of `cols`, times `factor`, as round_up(count) rows of round_up(cols) with zeros around.
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

// out[q][c] = sum_k tile[k][q] rows[k][c], or += in a strip that goes on; neighbouring strips that are alike
// go together.
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

// out[k][c] (+)= sum_q tile[k][q] rows[q][c].
template <class T>
void sum_over_queries(const Block<T>& block, const T* tile, const T* rows, int64_t padded, T* out,
                      bool accumulate) {
  constexpr int64_t W = kLanes<T>;
  block.each_rectangle([&](int64_t first, int64_t count, int64_t s, int64_t end) {
    tile_gemm<T>({.M = count,
                  .N = padded,
                  .outer = 1,
                  .inner = std::min(end * W, block.queries) - s * W,
                  .a = tile + first * kBlock + s * W,
                  .a_m = kBlock,
                  .a_inner = 1,
                  .b = rows + s * W * padded,
                  .b_inner = padded,
                  .c = out + first * padded,
                  .c_m = padded,
                  .accumulate = accumulate});
  });
}

// Scores that the mask hides become -inf.
template <class T>
void hide(const Block<T>& block, T* tile) {
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

// The softmax so far, per query: the largest score, and the sum of e^(score - top). The least number stands
// for no score yet, not -inf: a query may meet hidden keys alone at first, and -inf less -inf is no number.
template <class T>
struct Running {
  alignas(64) T top[kBlock], sum[kBlock], shrink[kBlock];

  Running() {
    std::fill_n(top, kBlock, std::numeric_limits<T>::lowest());
    std::fill_n(sum, kBlock, T(0));
    std::fill_n(shrink, kBlock, T(0));
  }
};

// scores -> e^(score - top) with the new top; `shrink` is what sums made with the old top are to be scaled
// by.
template <class T>
void softmax_step(const Block<T>& block, T* tile, Running<T>& running) {
  constexpr int64_t W = kLanes<T>;
  for (int64_t q = 0; q < block.strips() * W; q += W) {
    const int64_t from = block.from(q / W), seen = block.seen(q / W);
    if (from >= seen) continue;
    const Simd<T> old = load(running.top + q);
    Simd<T> tops[4] = {old, old, old, old};  // four chains hide the latency of a comparison
    int64_t k = from;
    for (; k + 4 <= seen; k += 4)
      for (int i = 0; i < 4; ++i) tops[i] = max<T>(tops[i], load(tile + (k + i) * kBlock + q));
    for (; k < seen; ++k) tops[0] = max<T>(tops[0], load(tile + k * kBlock + q));
    const Simd<T> top = max<T>(max<T>(tops[0], tops[1]), max<T>(tops[2], tops[3]));

    const Simd<T> shrink = exp(old - top);
    Simd<T> sum = load(running.sum + q) * shrink;
    for (k = from; k < seen; ++k) {
      T* const at = tile + k * kBlock + q;
      const Simd<T> p = exp(load(at) - top);
      store(at, p);
      sum += p;
    }
    store(running.top + q, top);
    store(running.sum + q, sum);
    store(running.shrink + q, shrink);
  }
}

// Row i of one head's result, from sums made with e^(score - top); y gathers its heads in ascending order.
template <class T>
void write_row(const AttentionFwd<T>& a, int64_t b, int64_t h, int64_t i, const T* sums, T top, T sum) {
  const T inverse = 1 / sum;
  T* const o = a.o.at(b, i, h);
  for (int64_t d = 0; d < a.o.D; ++d) o[d] = sums[d] * inverse;
  a.lse[(b * a.q.H + h) * a.q.T + i] = top + std::log(sum);
  if (!a.y) return;
  const T share = T(a.y.H) / T(a.q.H);
  T* const y = a.y.at(b, i, h % a.y.H);
  if (h < a.y.H)
    for (int64_t d = 0; d < a.y.D; ++d) y[d] = o[d] * share;
  else
    for (int64_t d = 0; d < a.y.D; ++d) y[d] += o[d] * share;
}

// Where the block of the first key begins that the query at a position sees.
int64_t first_block(const SequenceMask& mask, int64_t position) {
  return mask.first(int(position)) / kBlock * kBlock;
}

// Query blocks part, part + parts, ... of one head: every part gets its share of long and short rows.
template <class T>
void head_fwd(const AttentionFwd<T>& a, int64_t b, int64_t h, int64_t k_head, int64_t v_head, int64_t part,
              int64_t parts) {
  constexpr int64_t W = kLanes<T>;
  const int64_t E = a.q.D, Ep = round_up(E, W), D = a.v.D, Dp = round_up(D, W);
  const int64_t padded_keys = round_up(a.k.T, W);
  const SequenceMask mask = a.mask.of(b, a.k.T);
  T* const k_rows = thread_scratch<T, struct KeyRows>(padded_keys * Ep);
  T* const v_rows = thread_scratch<T, struct ValueRows>(padded_keys * Dp);
  T* const q_rows = thread_scratch<T, struct QueryRows>(kBlock * Ep);
  T* const q_columns = thread_scratch<T, struct QueryColumns>(kBlock * Ep);
  T* const sums = thread_scratch<T, struct OutRows>(kBlock * Dp);
  alignas(64) T tile[kBlock * kBlock];
  pack_rows<T>(k_rows, a.k.at(b, 0, k_head), a.k.t_stride, a.k.T, E, 1);
  pack_rows<T>(v_rows, a.v.at(b, 0, v_head), a.v.t_stride, a.v.T, D, 1);

  for (int64_t first = part * kBlock; first < a.q.T; first += parts * kBlock) {
    const int64_t queries = std::min(kBlock, a.q.T - first), position = a.start + first;
    pack_rows<T>(q_rows, a.q.at(b, first, h), a.q.t_stride, queries, E, T(a.scale));
    transpose_rows(q_columns, q_rows, queries, E);
    Running<T> running;
    for (int64_t key = first_block(mask, position); key < position + queries; key += kBlock) {
      const Block<T> block{mask, position, queries, key, std::min(kBlock, position + queries - key)};
      tile_from(block, tile, k_rows + key * Ep, q_columns, E);
      hide(block, tile);
      softmax_step(block, tile, running);
      for (int64_t q = 0; q < queries; ++q)
        if (block.goes_on(q / W) && block.from(q / W) < block.seen(q / W))
          for (int64_t d = 0; d < Dp; ++d) sums[q * Dp + d] *= running.shrink[q];
      sum_over_keys(block, tile, v_rows + key * Dp, Dp, sums);
    }
    for (int64_t q = 0; q < queries; ++q)
      write_row(a, b, h, first + q, sums + q * Dp, running.top[q], running.sum[q]);
  }
}

// Sum of the products of two rows: a vector whose lanes are still to be added up.
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

// A few queries against many keys (decoding) read k and v once, in place.
template <class T>
void few_queries_fwd(const AttentionFwd<T>& a, int64_t b, int64_t h, int64_t k_head, int64_t v_head) {
  constexpr int64_t W = kLanes<T>;
  const int64_t E = a.q.D, D = a.v.D, whole = D / W * W;
  T* const query = thread_scratch<T, struct QueryRows>(E);
  T* const p = thread_scratch<T, struct Scores>(round_up(a.k.T, W));
  T* const sums = thread_scratch<T, struct OutRows>(D);
  const SequenceMask mask = a.mask.of(b, a.k.T);
  for (int64_t i = 0; i < a.q.T; ++i) {
    const int64_t first = mask.first(int(a.start + i)), seen = a.start + i + 1 - first;
    const int64_t padded = round_up(seen, W);
    const T* const v = a.v.at(b, first, v_head);
    for (int64_t e = 0; e < E; ++e) query[e] = a.q.at(b, i, h)[e] * T(a.scale);
    dot_rows<T>(p, a.k.at(b, first, k_head), a.k.t_stride, query, 0, seen, E);
    std::fill(p + seen, p + padded, -std::numeric_limits<T>::infinity());

    Simd<T> tops = load(p), total{};
    for (int64_t j = W; j < padded; j += W) tops = max<T>(tops, load(p + j));
    const T top = lane_max<T>(tops);
    for (int64_t j = 0; j < padded; j += W) {
      const Simd<T> e = exp(load(p + j) - top);
      store(p + j, e);
      total += e;
    }
    if (whole > 0)
      tile_gemm<T>({.M = 1,
                    .N = whole,
                    .outer = 1,
                    .inner = seen,
                    .a = p,
                    .a_inner = 1,
                    .b = v,
                    .b_inner = a.v.t_stride,
                    .c = sums});
    for (int64_t d = whole; d < D; ++d) {
      sums[d] = 0;
      for (int64_t j = 0; j < seen; ++j) sums[d] += p[j] * v[j * a.v.t_stride + d];
    }
    write_row(a, b, h, i, sums, top, lane_sum<T>(total));
  }
}

// The packed operands of one head in backward. Per key of the whole sequence, then per query of one block.
template <class T>
struct Operands {
  int64_t E, Ep, D, Dp;
  T *k_rows, *v_rows, *dk, *dv;
  T *q_rows, *q_columns, *do_rows, *do_columns, *dq;
  alignas(64) T lse[kBlock], delta[kBlock];

  Operands(int64_t keys, int64_t e, int64_t d)
      : E(e), Ep(round_up(e, kLanes<T>)), D(d), Dp(round_up(d, kLanes<T>)) {
    const int64_t padded_keys = round_up(keys, kLanes<T>);
    k_rows = thread_scratch<T, struct KeyRows>(padded_keys * Ep);
    v_rows = thread_scratch<T, struct ValueRows>(padded_keys * Dp);
    dk = thread_scratch<T, struct KeyGradients>(keys * Ep);
    dv = thread_scratch<T, struct ValueGradients>(keys * Dp);
    q_rows = thread_scratch<T, struct QueryRows>(kBlock * Ep);
    q_columns = thread_scratch<T, struct QueryColumns>(kBlock * Ep);
    do_rows = thread_scratch<T, struct OutRows>(kBlock * Dp);
    do_columns = thread_scratch<T, struct OutColumns>(kBlock * Dp);
    dq = thread_scratch<T, struct QueryGradients>(kBlock * Ep);
  }
};

template <class T>
void load_queries(const AttentionBwd<T>& a, int64_t b, int64_t h, int64_t first, int64_t queries,
                  Operands<T>& x) {
  const T share = T(a.dy.H) / T(a.q.H);
  pack_rows<T>(x.q_rows, a.q.at(b, first, h), a.q.t_stride, queries, x.E, T(a.scale));
  transpose_rows(x.q_columns, x.q_rows, queries, x.E);
  pack_rows<T>(x.do_rows, a.dy.at(b, first, h % a.dy.H), a.dy.t_stride, queries, x.D, share);
  transpose_rows(x.do_columns, x.do_rows, queries, x.D);
  dot_rows<T>(x.delta, x.do_rows, x.Dp, a.o.at(b, first, h), a.o.t_stride, queries, x.D);
  std::fill_n(x.lse, kBlock, T(0));
  std::copy_n(a.lse.data + (b * a.q.H + h) * a.q.T + first, queries, x.lse);
}

// scores -> p, dp -> ds / scale
template <class T>
void softmax_bwd(const Block<T>& block, T* p, T* ds, const Operands<T>& x) {
  constexpr int64_t W = kLanes<T>;
  for (int64_t q = 0; q < block.strips() * W; q += W) {
    const Simd<T> lse = load(x.lse + q), delta = load(x.delta + q);
    for (int64_t at = block.from(q / W) * kBlock + q; at < block.seen(q / W) * kBlock; at += kBlock) {
      const Simd<T> e = exp(load(p + at) - lse);
      store(p + at, e);
      store(ds + at, e * (load(ds + at) - delta));
    }
  }
}

// dq of one head is written; its dk and dv are left in x. q_rows carry the scale, so dk needs none.
template <class T>
void head_bwd(const AttentionBwd<T>& a, int64_t b, int64_t h, int64_t k_head, int64_t v_head,
              Operands<T>& x) {
  alignas(64) T p[kBlock * kBlock], ds[kBlock * kBlock];
  const SequenceMask mask = a.mask.of(b, a.k.T);
  pack_rows<T>(x.k_rows, a.k.at(b, 0, k_head), a.k.t_stride, a.k.T, x.E, 1);
  pack_rows<T>(x.v_rows, a.v.at(b, 0, v_head), a.v.t_stride, a.v.T, x.D, 1);

  for (int64_t first = 0; first < a.q.T; first += kBlock) {
    const int64_t queries = std::min(kBlock, a.q.T - first);
    load_queries(a, b, h, first, queries, x);
    for (int64_t key = first_block(mask, first); key <= first; key += kBlock) {
      const Block<T> block{mask, first, queries, key, std::min(kBlock, first + queries - key)};
      tile_from(block, p, x.k_rows + key * x.Ep, x.q_columns, x.E);
      tile_from(block, ds, x.v_rows + key * x.Dp, x.do_columns, x.D);
      hide(block, p);
      softmax_bwd(block, p, ds, x);
      // The block on the diagonal is the first to reach its keys, and it reaches all of them.
      sum_over_queries(block, p, x.do_rows, x.Dp, x.dv + key * x.Dp, key < first);
      sum_over_queries(block, ds, x.q_rows, x.Ep, x.dk + key * x.Ep, key < first);
      sum_over_keys(block, ds, x.k_rows + key * x.Ep, x.Ep, x.dq);
    }
    for (int64_t q = 0; q < queries; ++q) {
      T* const dq = a.dq.at(b, first + q, h);
      for (int64_t e = 0; e < x.E; ++e) dq[e] = x.dq[q * x.Ep + e] * T(a.scale);
    }
  }
}

// Rows t of one head: out (+)= rows[t].
template <class T>
void put_rows(const Heads<T>& out, int64_t b, int64_t head, const T* rows, int64_t stride, bool add) {
  for (int64_t t = 0; t < out.T; ++t) {
    T* const to = out.at(b, t, head);
    const T* const from = rows + t * stride;
    for (int64_t d = 0; d < out.D; d += kLanes<T>) __builtin_prefetch(to + kAhead * out.t_stride + d, 1);
    if (add)
      for (int64_t d = 0; d < out.D; ++d) to[d] += from[d];
    else
      for (int64_t d = 0; d < out.D; ++d) to[d] = from[d];
  }
}

// Where the slices of a cluster leave dk or dv: in `out`, or, when heads of several slices may read one k or
// v head, in one partial result per slice, added up in order afterwards.
template <class T>
struct Gather {
  Heads<T> out;
  T* partial;  // absent: straight into out
  HeadClusters::Reading of;

  Heads<T> slice(int64_t s) const {
    const int64_t size = out.B * out.T * out.H * out.D;
    return partial ? heads_BTHD(partial + s * size, out.B, out.T, out.H, out.D) : out;
  }
  void add_up(const HeadClusters& map, int64_t slices) const {
    if (!partial) return;
    parallel_for(out.B * out.H, [&](int64_t task) {
      const int64_t b = task / out.H, group = task % out.H, n = map.cluster_size();
      bool add = false;
      for (int64_t c = 0; c < map.clusters(); ++c)
        for (int64_t s = 0; s < slices; ++s)
          if (map.reads(of, group, c, s * n / slices, (s + 1) * n / slices)) {
            const Heads<T> from = slice(s);
            put_rows(out, b, group, from.at(b, 0, group), from.t_stride, add);
            add = true;
          }
    });
  }
};

}  // namespace

template <class T>
void attention_fwd(Stream, const AttentionFwd<T>& a) {
  a.check();
  const AttentionHeads heads = heads_of(a);
  const int64_t channels = a.y ? a.y.H : a.q.H;
  const bool few = a.q.T <= kFewQueries;
  const int64_t parts = few ? 1 : std::min(ceil_div(kWantedTasks, a.q.B * channels), ceil_div(a.q.T, kBlock));
  parallel_for(a.q.B * channels * parts, [&](int64_t task) {
    const int64_t b = task / (channels * parts), c = task / parts % channels;
    for (int64_t h = c; h < a.q.H; h += channels)
      if (few)
        few_queries_fwd(a, b, h, heads.k(int(h)), heads.v(int(h)));
      else
        head_fwd(a, b, h, heads.k(int(h)), heads.v(int(h)), task % parts, parts);
  });
}

template <class T>
void attention_bwd(Stream, const AttentionBwd<T>& a) {
  a.check();
  const HeadClusters map(heads_of(a));
  const int64_t clusters = map.clusters(), n = map.cluster_size();
  const int64_t slices = std::min(ceil_div(kWantedTasks, a.q.B * clusters), n);
  const bool share_k = slices > 1 && map.Gk < map.H;
  const bool share_v = slices > 1 && map.Gv < map.H;
  const Gather<T> dk{
      a.dk,
      share_k ? thread_scratch<T, struct KeyPartials>(slices * a.dk.B * a.dk.T * a.dk.H * a.dk.D) : nullptr,
      &AttentionHeads::k};
  const Gather<T> dv{
      a.dv,
      share_v ? thread_scratch<T, struct ValuePartials>(slices * a.dv.B * a.dv.T * a.dv.H * a.dv.D) : nullptr,
      &AttentionHeads::v};

  parallel_for(a.q.B * clusters * slices, [&](int64_t task) {
    const int64_t b = task / (clusters * slices), cluster = task / slices % clusters, s = task % slices;
    const int64_t first = s * n / slices, last = (s + 1) * n / slices;
    Operands<T> x(a.k.T, a.q.D, a.v.D);
    for (int64_t i = first; i < last; ++i) {
      const int64_t h = map.member(cluster, i), k_head = map.k(int(h)), v_head = map.v(int(h));
      head_bwd(a, b, h, k_head, v_head, x);
      put_rows(dk.slice(s), b, k_head, x.dk, x.Ep, map.reads(&AttentionHeads::k, k_head, cluster, first, i));
      put_rows(dv.slice(s), b, v_head, x.dv, x.Dp, map.reads(&AttentionHeads::v, v_head, cluster, first, i));
    }
  });
  dk.add_up(map, slices);
  dv.add_up(map, slices);
}

template void attention_fwd<float>(Stream, const AttentionFwd<float>&);
template void attention_fwd<double>(Stream, const AttentionFwd<double>&);
template void attention_bwd<float>(Stream, const AttentionBwd<float>&);
template void attention_bwd<double>(Stream, const AttentionBwd<double>&);

}  // namespace saslm::cpu
