// Contract: kernels/attention.h. FlashAttention-2's backward (Dao 2023, algorithm 2); tiles:
// attention_tile.h.
//
// A task takes query heads that read the same k or v heads one after the other. For each block of queries of
// a head it walks the blocks of keys from the first that the mask shows to the diagonal:
//
//   P = e^(S - lse)   dS = P (dP - delta)   delta = dO . O   dV += P^T dO   dK += dS^T Q   dQ += dS K
#include <algorithm>
#include <numeric>

#include "core/dims.h"
#include "kernels/attention.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/parallel.h"

namespace saslm::cpu {
namespace {

using namespace attention;

constexpr int64_t kBwdTasks = 16;  // a shape with fewer tasks is split further, to keep the threads busy

// A cluster is a smallest set of query heads that shares no k or v head with the others: its dk and dv are
// its own.
struct HeadClusters : AttentionHeads {
  int64_t width;

  explicit HeadClusters(const AttentionHeads& heads) : AttentionHeads(heads) {
    // Heads read the v heads from the first one on again after every `modulo`; if groups of k divide that,
    // groups of k and v end together every `width` heads.
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
    k_rows = thread_scratch<T, KeyRows>(padded_keys * Ep);
    v_rows = thread_scratch<T, ValueRows>(padded_keys * Dp);
    dk = thread_scratch<T, struct KeyGradients>(keys * Ep);
    dv = thread_scratch<T, struct ValueGradients>(keys * Dp);
    q_rows = thread_scratch<T, QueryRows>(kBlock * Ep);
    q_columns = thread_scratch<T, QueryColumns>(kBlock * Ep);
    do_rows = thread_scratch<T, OutRows>(kBlock * Dp);
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
      hide_unseen(block, p);
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

// Stores one head's rows: out[t] (= | +=) rows[t].
template <class T>
void store_rows(const Heads<T>& out, int64_t b, int64_t head, const T* rows, int64_t stride, bool add) {
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

// Where tasks store dk or dv. A task takes one slice of a cluster's heads. The result goes to `out`, or,
// where several slices may read one k or v head, to one partial result per slice; these are added up in
// order afterwards.
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
            store_rows(out, b, group, from.at(b, 0, group), from.t_stride, add);
            add = true;
          }
    });
  }
};

}  // namespace

template <class T>
void attention_bwd(Stream, const AttentionBwd<T>& a) {
  a.check();
  const HeadClusters map(heads_of(a));
  const int64_t clusters = map.clusters(), n = map.cluster_size();
  const int64_t slices = std::min(ceil_div(kBwdTasks, a.q.B * clusters), n);
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
      store_rows(dk.slice(s), b, k_head, x.dk, x.Ep,
                 map.reads(&AttentionHeads::k, k_head, cluster, first, i));
      store_rows(dv.slice(s), b, v_head, x.dv, x.Dp,
                 map.reads(&AttentionHeads::v, v_head, cluster, first, i));
    }
  });
  dk.add_up(map, slices);
  dv.add_up(map, slices);
}

template void attention_bwd<float>(Stream, const AttentionBwd<float>&);
template void attention_bwd<double>(Stream, const AttentionBwd<double>&);
}  // namespace saslm::cpu
