// Contract: kernels/attention.h. FlashAttention-2 (Dao 2023, algorithm 1); tiles: attention_tile.h.
//
// A task takes the heads of one channel of one sequence one after the other, or a part of their query blocks
// where there are few tasks. For each block of queries it walks the blocks of keys from the first that the
// mask shows to the diagonal, with a running softmax:
//
//   m' = max(m, max_k S)   P = e^(S - m')   l = e^(m - m') l + sum_k P   O = e^(m - m') O + P V
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/dims.h"
#include "kernels/attention.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/parallel.h"

namespace saslm::cpu {
namespace {

using namespace attention;

constexpr int64_t kFewQueries = 3;  // up to here, packing keys and values costs more than it saves (measured)
constexpr int64_t kFwdTasks = 16;   // a shape with fewer tasks is split further, to keep the threads busy

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

// Stores row i of one head's result, from sums made with e^(score - top); y adds its heads in ascending
// order.
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

// One head's query blocks part, part + parts, ...: interleaved, since later blocks see more keys.
template <class T>
void head_fwd(const AttentionFwd<T>& a, int64_t b, int64_t h, int64_t k_head, int64_t v_head, int64_t part,
              int64_t parts) {
  constexpr int64_t W = kLanes<T>;
  const int64_t E = a.q.D, Ep = round_up(E, W), D = a.v.D, Dp = round_up(D, W);
  const int64_t padded_keys = round_up(a.k.T, W);
  const SequenceMask mask = a.mask.of(b, a.k.T);
  T* const k_rows = thread_scratch<T, KeyRows>(padded_keys * Ep);
  T* const v_rows = thread_scratch<T, ValueRows>(padded_keys * Dp);
  T* const q_rows = thread_scratch<T, QueryRows>(kBlock * Ep);
  T* const q_columns = thread_scratch<T, QueryColumns>(kBlock * Ep);
  T* const sums = thread_scratch<T, OutRows>(kBlock * Dp);
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
      hide_unseen(block, tile);
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

// A few queries against many keys (decoding) read k and v once, in place.
template <class T>
void few_queries_fwd(const AttentionFwd<T>& a, int64_t b, int64_t h, int64_t k_head, int64_t v_head) {
  constexpr int64_t W = kLanes<T>;
  const int64_t E = a.q.D, D = a.v.D, whole = D / W * W;
  T* const query = thread_scratch<T, QueryRows>(E);
  T* const p = thread_scratch<T, struct Scores>(round_up(a.k.T, W));
  T* const sums = thread_scratch<T, OutRows>(D);
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

}  // namespace

template <class T>
void attention_fwd(Stream, const AttentionFwd<T>& a) {
  a.check();
  const AttentionHeads heads = heads_of(a);
  const int64_t channels = a.y ? a.y.H : a.q.H;
  const bool few = a.q.T <= kFewQueries;
  const int64_t parts = few ? 1 : std::min(ceil_div(kFwdTasks, a.q.B * channels), ceil_div(a.q.T, kBlock));
  parallel_for(a.q.B * channels * parts, [&](int64_t task) {
    const int64_t b = task / (channels * parts), c = task / parts % channels;
    for (int64_t h = c; h < a.q.H; h += channels)
      if (few)
        few_queries_fwd(a, b, h, heads.k(int(h)), heads.v(int(h)));
      else
        head_fwd(a, b, h, heads.k(int(h)), heads.v(int(h)), task % parts, parts);
  });
}

template void attention_fwd<float>(Stream, const AttentionFwd<float>&);
template void attention_fwd<double>(Stream, const AttentionFwd<double>&);
}  // namespace saslm::cpu
