// Contract: kernels/attention.h. Meaning: kernels/cpu/attention.cpp.
//
// FlashAttention-2 backward (Dao 2023, algorithm 2) in bf16 on mma.sync, without atomics: one block of 8
// warps takes one head of one sequence, its key blocks of 128 from right to left, and for each of them the
// query blocks of 64 from the diagonal to the last that the mask shows one of its keys. Scores lie
// transposed, 16 keys a warp, so that what a warp computes is at once an operand of its next products:
//
//   S^T = K Q^T    P^T = 2^(c S^T - lse)    dP^T = V dO^T    dS^T = P^T (dP^T - delta)       in registers
//   dV += P^T dO   dK += dS^T Q                                                             in registers
//   dQ += dS K                                         dS through shared memory, over all warps' keys
//
// dQ is the one sum that runs over key blocks. Between them it lies in scratch, in the order of fragments: a
// thread reads back what it wrote itself, 16 bytes a lane, so that no synchronisation is needed and the order
// of the sum is that of the program. The block on the diagonal is the first to touch a dQ, the leftmost one
// that its queries see the last, which writes it out. At T = 1024 the scratch of all running blocks is 52 MB
// and stays in L2, as a rule.
//
// dO is the pooled gradient: head h reads channel h mod Hp, and 1/P is left to the final factors. Two
// barriers a step: queries have come in and the last step's dS is free; dS is complete. The next queries come
// by cp.async meanwhile.
//
// Query heads that share k or v (AttentionBwdPlan): a block walks several of them and adds up in its own
// float partial, where again each thread reads back what it wrote; a last kernel adds the partials of a head
// in order. Walking always a whole group would leave MQA with B units of work; a partial for each head would
// fill any GPU but take H / Gk times the memory and its traffic: hence units, cut no finer than a GPU needs.
//
// Floor on an H200 at (96, 64), 36 heads, T = 1024, per token: 15.3 MFLOP, 19.4 ns at 790 TFLOP/s, 31 ns at
// the 63 % of mma.sync; traffic 10 ns. The diagonal adds 12 % of masked work; dQ passes L2 at 1.8 TB/s.
// What bounds it first is shared memory: compiled, a warp has 122 ldmatrix beside 208 mma a step, which eight
// warps cannot be served faster than in 43 ns (counted, not measured).
//
// Few heads (B*H up to 64): each is split, every split taking each so manieth key block, which balances the
// triangle. A split leaves its dQ in scratch, and a last kernel adds the splits up in order.
//
// Registers are what is short: one block of 8 warps a multiprocessor, up to 255 registers a thread. So K and
// V are read from shared memory as fragments again every step, and what a block works on (Head) lies there
// too.
//
// Limit: between 65 and 131 heads (B*H) some multiprocessors stay idle.
#include "core/dims.h"
#include "kernels/cuda/attention_parts.h"
#include "kernels/cuda/attention_tile.cuh"

namespace saslm::cuda {
namespace {

constexpr int kThreads = 256;  // of the kernels that add up

// What a kernel is compiled for: the widths of rows, and the keys of a block, 16 a warp.
template <int Width, int ValueWidth, int Keys>
struct Tiles {
  static constexpr int E = Width, D = ValueWidth, kKeys = Keys;
  static constexpr int kWarps = kKeys / 16, kThreads = kWarps * kWarp;
  static constexpr int kQueries = attention_bwd_queries(E, kKeys);
  // dQ (kQueries, E) over the warps: 16 rows each, and every so manieth pair of fragments.
  static constexpr int kRowGroups = kQueries / 16, kColumnGroups = kWarps / kRowGroups;
  static constexpr int kFragments = E / 8 / kColumnGroups;
  static constexpr bool kTakesWords = attention_bwd_takes_words({E, D}, kKeys);
};

// One query head: what it reads, where its gradients go, and which it is of this block's work.
struct Head {
  Rows<const bf16> q, k, v, dy;
  const float2* statistics;  // of its queries
  Rows<bf16> dq, dk, dv;
  float *dk_partial, *dv_partial;  // of its unit; absent: to dk, dv
  SequenceMask mask;
  float scale_log2, scale_share, share;
  int by_words;        // rows do not all begin on 16 bytes
  int key_step;        // from one key block of this split to the next
  int part, n, heads;  // head n of the part's
};

template <class T>
struct Shared {
  bf16 k[T::kKeys * T::E], v[T::kKeys * T::D], q[2][T::kQueries * T::E], dy[2][T::kQueries * T::D],
      ds[T::kKeys * T::kQueries];
  float2 statistics[2][T::kQueries];
  Head head;
  struct {
    int whole, goes_on;
  } last;  // of the key block: the last query that sees all of it, and that sees the split's next block
};

template <class T>
__device__ __forceinline__ void load_queries(Shared<T>& shared, int stage, int first) {
  const Head& head = shared.head;
  const bool by_words = T::kTakesWords && head.by_words != 0;
  load_tile<T::kQueries, T::E, T::kThreads>(shared.q[stage], head.q, first, by_words);
  load_tile<T::kQueries, T::D, T::kThreads>(shared.dy[stage], head.dy, first, by_words);
  const int i = 2 * int(threadIdx.x);
  if (i < T::kQueries) simt::cp_async16(shared.statistics[stage] + i, head.statistics + first + i);
  simt::cp_async_commit();
}

// S^T -> P^T and dP^T -> dS^T of one warp's keys; dS^T also to shared memory.
template <int Q>
__device__ __forceinline__ void softmax_bwd(float (&p)[1][Q / 8][4], float (&ds)[1][Q / 8][4], bf16* tile,
                                            const float2* statistics, float scale_log2) {
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

// This warp's part of dQ of one query block, and where it lies between key blocks.
template <class T>
struct QueryGradient {
  float sum[1][T::kFragments][4];

  __device__ __forceinline__ static int row() { return warp_of_block() % T::kRowGroups * 16; }
  __device__ __forceinline__ static int column() { return warp_of_block() / T::kRowGroups * 16; }
  // Where a lane begins in the scratch of a block.
  __device__ __forceinline__ static int64_t place() {
    return (warp_of_block() * T::kFragments * kWarp + lane_of_warp()) * 4;
  }

  __device__ __forceinline__ void load(const float* own, int first, bool started) {
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
  __device__ __forceinline__ void put(const Rows<bf16>& dq, int first, float factor) const {
    SIMT_UNROLL
    for (int half = 0; half < 2; ++half)
      put_row<T::kColumnGroups>(dq, first + row() + row_of(0, 2 * half), column(), sum[0], half, factor);
  }
};

// dk or dv of a warp's 16 keys: to `out`, or to this unit's partial, which its first head sets and others add
// to.
template <int N>
__device__ __forceinline__ void put_strip(const Rows<bf16>& out, float* partial, bool add,
                                          const float (&x)[1][N / 8][4], int key, float factor) {
  SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int row = key + warp_of_block() * 16 + row_of(0, 2 * half);
    if (!partial) {
      put_row(out, row, 0, x[0], half, factor);
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

// The key block from `key` on, against all queries that see some of it. Its dK and dV stay in
// registers; dQ goes on from scratch, and out of it when this is the first key block.
template <class T>
__device__ __forceinline__ void key_block_bwd(Shared<T>& shared, int key, float* dq_scratch) {
  const Head& head = shared.head;
  constexpr int E = T::E, D = T::D, Q = T::kQueries, kKeys = T::kKeys;
  const int own = warp_of_block() * 16;
  const Place<E> own_keys = place_a<E>(own), dq_columns = place_b_trans<E>(QueryGradient<T>::column() / 8);
  const Place<D> own_values = place_a<D>(own);
  const Place<Q> dq_rows = place_a_trans<Q>(QueryGradient<T>::row());

  simt::block_sync();                                // the tiles of the key block before are no longer read
  const int last = head.mask.last(key + kKeys - 1);  // query that sees some of the key block
  if (threadIdx.x == 0)
    shared.last = {head.mask.last(key), head.key_step > kKeys ? AttentionMask::kUnlimited
                                        : key > 0             ? head.mask.last(key - 1)
                                                              : -1};
  const bool by_words = T::kTakesWords && head.by_words != 0;
  load_tile<kKeys, E, T::kThreads>(shared.k, head.k, key, by_words);
  load_tile<kKeys, D, T::kThreads>(shared.v, head.v, key, by_words);
  load_queries(shared, 0, key);

  float dk[1][E / 8][4] = {};  // fragments of a product over 16 keys a warp
  float dv[1][D / 8][4] = {};
  // Keys of the block that none of these queries sees any more: the first ones.
  const auto unseen = [&](int first) {
    return first <= shared.last.whole ? 0 : head.mask.first(first) - key;
  };
  for (int first = key, stage = 0; first <= last; first += Q, stage ^= 1) {
    simt::cp_async_wait<0>();
    simt::block_sync();
    if (first + Q <= last) load_queries(shared, stage ^ 1, first + Q);
    QueryGradient<T> dq;
    const int ahead = key + own - first;
    if (ahead < Q && own + 16 > unseen(first)) {
      float p[1][Q / 8][4] = {}, ds[1][Q / 8][4] = {};
      multiply_rows<E, E / 16>(
          p, [&](uint32_t(&a)[4], int, int i) { simt::ldmatrix_x4(a, shared.k + own_keys(0, 2 * i)); },
          shared.q[stage]);
      if (ahead + 16 > 1) hide_earlier_queries(p, ahead);
      if (first + Q - 1 > shared.last.whole) hide_later_queries(p, head.mask, key + own, first);
      multiply_rows<D, D / 16>(
          ds, [&](uint32_t(&a)[4], int, int i) { simt::ldmatrix_x4(a, shared.v + own_values(0, 2 * i)); },
          shared.dy[stage]);
      softmax_bwd<Q>(p, ds, shared.ds, shared.statistics[stage], head.scale_log2);
      // As early as registers allow, for it is on its way meanwhile.
      if constexpr (E + D <= 160) dq.load(dq_scratch, first, first >= key + head.key_step);
      multiply<D, Q / 16>(
          dv, [&](uint32_t(&a)[4], int, int i) { round_a(a, p[0], i); }, shared.dy[stage]);
      if constexpr (E + D > 160) dq.load(dq_scratch, first, first >= key + head.key_step);
      multiply<E, Q / 16>(
          dk, [&](uint32_t(&a)[4], int, int i) { round_a(a, ds[0], i); }, shared.q[stage]);
    } else {
      dq.load(dq_scratch, first, first >= key + head.key_step);
    }
    simt::block_sync();
    const int skipped = unseen(first);
    // The widest tile has no registers for more at once: it would spill on sm_80.
    SIMT_UNROLL_BY(E + D < 320 ? kKeys / 16 : 2)
    for (int i = 0; i < kKeys / 16; ++i)
      if (key + 16 * i < first + Q && 16 * i + 16 > skipped)  // others are seen by none of these queries
        multiply_step<E, T::kColumnGroups>(
            dq.sum,
            [&](uint32_t(&a)[4], int, int) { simt::ldmatrix_x4_trans(a, shared.ds + dq_rows(16 * i, 0)); },
            shared.k, i, dq_columns);
    if (first <= shared.last.goes_on)
      dq.store(dq_scratch, first);
    else
      dq.put(head.dq, first, head.scale_share);
  }
  put_strip<E>(head.dk, head.dk_partial, head.n > 0, dk, key, head.scale_share);
  put_strip<D>(head.dv, head.dv_partial, head.n > 0, dv, key, head.share);
}

struct Scratch {
  float2* statistics;
  float *dq, *dk, *dv;  // dk, dv absent: heads share nothing
  int64_t dq_of_block;

  Scratch(const AttentionBwdPlan& plan, float* data)
      : statistics(reinterpret_cast<float2*>(data)),
        dq(data + plan.statistics()),
        dk(plan.dk() ? dq + plan.dq() : nullptr),
        dv(plan.dv() ? dq + plan.dq() + plan.dk() : nullptr),
        dq_of_block(plan.dq_of_block()) {}
};

// Head n of one part, a split of a unit.
__device__ __forceinline__ Head head_of(const AttentionBwd<bf16>& a, const AttentionBwdPlan& plan,
                                        const HeadReads& reads, const Scratch& scratch, int part, int n) {
  const int unit = part / int(plan.splits), b = unit / int(plan.units_of_sequence);
  const int h = int(plan.first_head(unit % plan.units_of_sequence) + n * plan.stride), g = reads.k(h),
            w = reads.v(h);
  const float scale = float(a.scale), share = float(a.dy.H) / float(a.q.H);
  return {.q = {a.q, b, h},
          .k = {a.k, b, g},
          .v = {a.v, b, w},
          .dy = {a.dy, b, h % a.dy.H},
          .statistics = scratch.statistics + (b * a.q.H + h) * plan.padded_queries(),
          .dq = {a.dq, b, h},
          .dk = {a.dk, b, g},
          .dv = {a.dv, b, w},
          .dk_partial = scratch.dk ? scratch.dk + unit * (plan.T * plan.E) : nullptr,
          .dv_partial = scratch.dv ? scratch.dv + unit * (plan.T * plan.D) : nullptr,
          .mask = a.mask.of(b, a.k.T),
          .scale_log2 = scale * kLog2e,
          .scale_share = scale * share,
          .share = share,
          .by_words = reads.by_words,
          .key_step = int(plan.splits * plan.keys),
          .part = part,
          .n = n,
          .heads = int(plan.heads(unit % plan.units_of_sequence))};
}

template <class T>
__global__ void __launch_bounds__(T::kThreads, 1)
    attention_bwd_kernel(AttentionBwd<bf16> a, AttentionBwdPlan plan, HeadReads reads, Scratch scratch) {
  Shared<T>& shared = *simt::dyn_smem<Shared<T>>();
  float* const dq_scratch = scratch.dq + blockIdx.x * scratch.dq_of_block + QueryGradient<T>::place();
  for (int part = int(blockIdx.x), n = 0; part < int(plan.parts);) {
    simt::block_sync();  // the head before is no longer read
    if (threadIdx.x == 0) shared.head = head_of(a, plan, reads, scratch, part, n);
    for (int key = plan.last_key(part); key >= 0; key -= shared.head.key_step)
      key_block_bwd(shared, key, dq_scratch);
    const bool more = shared.head.n + 1 < shared.head.heads;
    n = more ? shared.head.n + 1 : 0;
    part = shared.head.part + (more ? 0 : int(gridDim.x));
  }
}

// dq of one query block where units are split: what the splits left in scratch, added up in their order.
template <class T>
__global__ void __launch_bounds__(T::kThreads)
    add_up_splits_kernel(AttentionBwd<bf16> a, AttentionBwdPlan plan, Scratch scratch) {
  const int unit = int(blockIdx.x), first = int(blockIdx.y) * T::kQueries, splits = int(plan.splits);
  const int b = unit / int(plan.units_of_sequence), u = unit % int(plan.units_of_sequence);
  // A split was here if these queries see the nearest of its key blocks: of those up to the diagonal the one
  // that lies so many blocks before it.
  const int diagonal = first / T::kKeys, seen = a.mask.of(b, a.k.T).first(first) / T::kKeys;
  const int before_first = diagonal + splits - plan.last_key(0) / T::kKeys % splits;
  QueryGradient<T> sum, part;
  sum.load(nullptr, 0, false);
  for (int split = 0; split < splits; ++split) {
    const bool was_here = diagonal - (before_first + split) % splits >= seen;
    const float* const from = scratch.dq + (int64_t(unit) * splits + split) * scratch.dq_of_block;
    part.load(from + QueryGradient<T>::place(), first, was_here);
    sum.add(part);
  }
  sum.put({a.dq, b, plan.first_head(u)}, first, float(a.scale) * float(a.dy.H) / float(a.q.H));
}

// out[b, t, g] = the sum of the partials of the units that read head g, in their order.
__global__ void __launch_bounds__(kThreads)
    add_up_partials_kernel(Heads<bf16> out, const float* partial, AttentionBwdPlan::Readers readers,
                           int64_t units) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x, d = i % out.D, row = i / out.D;
  const int64_t t = row % out.T, g = row / out.T % out.H, b = row / out.T / out.H;
  if (b >= out.B) return;
  float sum = 0;
  for (int64_t n = 0; n < readers.count(); ++n)
    sum += partial[((b * units + readers.unit(g, n)) * out.T + t) * out.D + d];
  out.at(b, t, g)[d] = bf16(sum);
}

void add_up_partials(Stream stream, const Heads<bf16>& out, const float* partial,
                     const AttentionBwdPlan::Readers& readers, int64_t units) {
  if (!partial) return;
  simt::launch(add_up_partials_kernel, ceil_div(out.B * out.T * out.H * out.D, kThreads), kThreads, 0, stream,
               out, partial, readers, units);
}

template <class T>
void launch_bwd(Stream stream, const AttentionBwd<bf16>& a) {
  static_assert(sizeof(Shared<T>) == attention_bwd_shared_bytes(T::E, T::D, T::kKeys));
  const AttentionBwdPlan plan(shape_of(a), T::kKeys);
  const Scratch scratch(plan, a.scratch.data);
  const HeadReads reads{heads_of(a),
                        !(in_vectors(a.q) && in_vectors(a.k) && in_vectors(a.v) && in_vectors(a.dy))};
  simt::launch(attention_bwd_kernel<T>, plan.blocks(), T::kThreads, sizeof(Shared<T>), stream, a, plan, reads,
               scratch);
  if (plan.splits > 1)
    simt::launch(add_up_splits_kernel<T>, {plan.units, ceil_div(a.q.T, T::kQueries)}, T::kThreads, 0, stream,
                 a, plan, scratch);
  add_up_partials(stream, a.dk, scratch.dk, plan.k_readers(), plan.units_of_sequence);
  add_up_partials(stream, a.dv, scratch.dv, plan.v_readers(), plan.units_of_sequence);
}

}  // namespace

void attention_bwd_on_tiles(Stream stream, const AttentionBwd<bf16>& a, const Path& path) {
  with_widths(path.size, [&]<int E, int D>(Widths<E, D>) {
    constexpr int kKeys = AttentionBwdPlan::kKeys;
    if (path.variant == Variant::attention_bwd_tile)
      launch_bwd<Tiles<E, D, kKeys>>(stream, a);
    else if constexpr (attention_bwd_has_narrow({E, D}))
      launch_bwd<Tiles<E, D, kKeys / 2>>(stream, a);
  });
}

}  // namespace saslm::cuda
