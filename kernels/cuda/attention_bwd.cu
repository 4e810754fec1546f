// Backward of attention on tensor cores, in bf16. Contract: kernels/attention.h. FlashAttention-2's backward
// (Dao 2023, algorithm 2) on mma.sync, without atomics. For query head h, with K of k(h), V of v(h) and
// c = scale log2 e:
//
//   S^T = K Q^T    P^T = 2^(c S^T - lse log2 e)    dP^T = V dO^T    dS^T = P^T (dP^T - delta)
//   dV += P^T dO   dK += dS^T Q                    dQ += dS K       delta = dO . O, of attention.cu
//
// dO is the pooled gradient: head h reads channel h mod Hp, and 1/P is left to the final factors.
//
// Grid     Persistent thread blocks, one a multiprocessor; which work tiles a block takes, and which query
//          heads they have: attention_bwd_schedule.h.
// Block    8 warps (narrow tile: 4), 16 keys each. For every head of its work tile it walks the key blocks
//          of 128 (64) from right to left, and for each of them the query tiles from the diagonal to the
//          last that the mask shows one of its keys (key_block_bwd).
// Load     K and V once a key block; query tiles by cp.async, two stages: one is loaded while the other is
//          computed on. All threads load.
// Compute  S^T, P^T, dP^T, dS^T, dV and dK in registers, a warp on its own keys. dS goes through shared
//          memory to dQ, which sums over all warps' keys. Two barriers a query tile: the tile has come in
//          and the last dS is free; dS is complete.
// Store    dK, dV after the key block's last query tile. dQ is the one sum over key blocks: between them it
//          lies in scratch, in the order of fragments; a thread reads back what it wrote itself, 16 bytes a
//          lane, so that no synchronisation is needed and the order of the sum is that of the program. The
//          key block on the diagonal is the first to touch a dQ, the leftmost one that its queries see the
//          last: it writes dq.
// Shared   BwdShared (attention_bwd_tile.cuh); its bytes: attention_tiles.h.
// Writes   dq, dk, dv (=); scratch. Heads that share k or v leave float partials, and split work tiles
//          leave their dQ, which two small kernels add up in a fixed order.
// Cost     Floor on an H200 at (96, 64), 36 heads, T = 1024, per token: 15.3 MFLOP, 19.4 ns at 790 TFLOP/s,
//          31 ns at the 63 % of mma.sync; traffic 10 ns. The diagonal adds 12 % of masked work; dQ passes
//          L2 at 1.8 TB/s (52 MB of all running blocks at T = 1024, which stays in L2 as a rule). Shared
//          memory binds first: compiled, a warp has 122 ldmatrix beside 208 mma a query tile, which eight
//          warps cannot be served faster than in 43 ns (counted, not measured). Between 65 and 131 heads
//          (B*H) some multiprocessors stay idle.
//
// Registers are what is short: one block of 8 warps a multiprocessor, up to 255 registers a thread. So K and
// V are read from shared memory as fragments again every query tile, and the head's task lies there too.
//
// Why chunks of heads: one block for all heads that share a k head would leave MQA with B blocks of work; a
// partial for each head would fill any GPU but take H / Gk times the memory and its traffic.
#include "core/dims.h"
#include "kernels/cuda/attention_bwd_schedule.h"
#include "kernels/cuda/attention_bwd_tile.cuh"

namespace saslm::cuda {
namespace {

constexpr int kThreads = 256;  // of the kernels that add up

// One key block, from `key` on, of the head in shared.task, against all query tiles that see some of it.
template <class T>
__device__ __forceinline__ void key_block_bwd(BwdShared<T>& shared, int key, float* dq_scratch) {
  const HeadTask& task = shared.task;
  constexpr int E = T::E, D = T::D, Q = T::kQueries, kKeys = T::kKeys;
  const int own = warp_of_block() * 16;
  const Place<E> own_keys = place_a<E>(own), dq_columns = place_b_trans<E>(QueryGradient<T>::column() / 8);
  const Place<D> own_values = place_a<D>(own);
  const Place<Q> dq_rows = place_a_trans<Q>(QueryGradient<T>::row());

  simt::block_sync();                                // the tiles of the key block before are no longer read
  const int last = task.mask.last(key + kKeys - 1);  // query that sees some of the key block
  load_key_block(shared, key);

  float dk[1][E / 8][4] = {};  // fragments of a product over 16 keys a warp
  float dv[1][D / 8][4] = {};
  // Keys of the block that none of these queries sees any more: the first ones.
  const auto unseen = [&](int first) {
    return first <= shared.last.sees_all ? 0 : task.mask.first(first) - key;
  };
  for (int first = key, stage = 0; first <= last; first += Q, stage ^= 1) {
    // Load: wait for this query tile, start the next one.
    simt::cp_async_wait<0>();
    simt::block_sync();
    if (first + Q <= last) load_queries(shared, stage ^ 1, first + Q);
    // Compute P^T, dS^T, dV, dK; dQ so far is on its way from scratch meanwhile, as early as registers allow.
    QueryGradient<T> dq;
    const int ahead = key + own - first;
    if (ahead < Q && own + 16 > unseen(first)) {
      float p[1][Q / 8][4] = {}, ds[1][Q / 8][4] = {};
      multiply_rows<E, E / 16>(
          p, [&](uint32_t(&a)[4], int, int i) { simt::ldmatrix_x4(a, shared.k + own_keys(0, 2 * i)); },
          shared.q[stage]);
      if (ahead + 16 > 1) hide_earlier_queries(p, ahead);
      if (first + Q - 1 > shared.last.sees_all) hide_later_queries(p, task.mask, key + own, first);
      multiply_rows<D, D / 16>(
          ds, [&](uint32_t(&a)[4], int, int i) { simt::ldmatrix_x4(a, shared.v + own_values(0, 2 * i)); },
          shared.dy[stage]);
      compute_p_and_ds<Q>(p, ds, shared.ds, shared.statistics[stage], task.scale_log2);
      if constexpr (E + D <= 160) dq.load_or_clear(dq_scratch, first, first >= key + task.key_step);
      multiply<D, Q / 16>(
          dv, [&](uint32_t(&a)[4], int, int i) { round_a(a, p[0], i); }, shared.dy[stage]);
      if constexpr (E + D > 160) dq.load_or_clear(dq_scratch, first, first >= key + task.key_step);
      multiply<E, Q / 16>(
          dk, [&](uint32_t(&a)[4], int, int i) { round_a(a, ds[0], i); }, shared.q[stage]);
    } else {
      dq.load_or_clear(dq_scratch, first, first >= key + task.key_step);
    }
    simt::block_sync();
    // Compute dQ over all warps' keys.
    const int skipped = unseen(first);
    // The widest tile has no registers for more at once: it would spill on sm_80.
    SIMT_UNROLL_BY(E + D < 320 ? kKeys / 16 : 2)
    for (int i = 0; i < kKeys / 16; ++i)
      if (key + 16 * i < first + Q && 16 * i + 16 > skipped)  // others are seen by none of these queries
        multiply_step<E, T::kColumnGroups>(
            dq.sum,
            [&](uint32_t(&a)[4], int, int) { simt::ldmatrix_x4_trans(a, shared.ds + dq_rows(16 * i, 0)); },
            shared.k, i, dq_columns);
    // Store dQ: to scratch while key blocks to the left are seen by these queries, else to dq.
    if (first <= shared.last.sees_next)
      dq.store(dq_scratch, first);
    else
      dq.store_result(task.dq, first, task.scale_share);
  }
  store_key_gradient<E>(task.dk, task.dk_partial, task.index > 0, dk, key, task.scale_share);
  store_key_gradient<D>(task.dv, task.dv_partial, task.index > 0, dv, key, task.share);
}

// Where the parts of AttentionBwd::scratch begin (attention_bwd_schedule.h).
struct Scratch {
  float2* statistics;
  float *dq, *dk, *dv;  // dk, dv absent: heads share nothing
  int64_t dq_floats_of_block;

  Scratch(const AttentionBwdSchedule& schedule, float* data)
      : statistics(reinterpret_cast<float2*>(data)),
        dq(data + schedule.statistics_floats()),
        dk(schedule.dk_floats() ? dq + schedule.dq_floats() : nullptr),
        dv(schedule.dv_floats() ? dq + schedule.dq_floats() + schedule.dk_floats() : nullptr),
        dq_floats_of_block(schedule.dq_floats_of_block()) {}
};

// Head `index` of one work tile.
__device__ __forceinline__ HeadTask head_task(const AttentionBwd<bf16>& a,
                                              const AttentionBwdSchedule& schedule, const HeadReads& reads,
                                              const Scratch& scratch, int work_tile, int index) {
  const int chunk = work_tile / int(schedule.splits), b = chunk / int(schedule.sequence_chunks);
  const int h = int(schedule.first_head(chunk % schedule.sequence_chunks) + index * schedule.head_stride),
            g = reads.k(h), w = reads.v(h);
  const float scale = float(a.scale), share = float(a.dy.H) / float(a.q.H);
  return {.q = {a.q, b, h},
          .k = {a.k, b, g},
          .v = {a.v, b, w},
          .dy = {a.dy, b, h % a.dy.H},
          .statistics = scratch.statistics + (b * a.q.H + h) * schedule.padded_queries(),
          .dq = {a.dq, b, h},
          .dk = {a.dk, b, g},
          .dv = {a.dv, b, w},
          .dk_partial = scratch.dk ? scratch.dk + chunk * (schedule.T * schedule.E) : nullptr,
          .dv_partial = scratch.dv ? scratch.dv + chunk * (schedule.T * schedule.D) : nullptr,
          .mask = a.mask.of(b, a.k.T),
          .scale_log2 = scale * kLog2e,
          .scale_share = scale * share,
          .share = share,
          .by_words = reads.by_words,
          .key_step = schedule.key_step(),
          .work_tile = work_tile,
          .index = index,
          .count = int(schedule.head_count(chunk % schedule.sequence_chunks))};
}

template <class T>
__global__ void __launch_bounds__(T::kThreads, 1)
    attention_bwd_kernel(AttentionBwd<bf16> a, AttentionBwdSchedule schedule, HeadReads reads,
                         Scratch scratch) {
  BwdShared<T>& shared = *simt::dyn_smem<BwdShared<T>>();
  float* const dq_scratch =
      scratch.dq + blockIdx.x * scratch.dq_floats_of_block + QueryGradient<T>::scratch_offset();
  for (int work_tile = int(blockIdx.x), index = 0; work_tile < int(schedule.work_tiles);) {
    simt::block_sync();  // the task before is no longer read
    if (threadIdx.x == 0) shared.task = head_task(a, schedule, reads, scratch, work_tile, index);
    for (int key = schedule.first_key(work_tile); key >= 0; key -= shared.task.key_step)
      key_block_bwd(shared, key, dq_scratch);
    const bool more = shared.task.index + 1 < shared.task.count;
    index = more ? shared.task.index + 1 : 0;
    work_tile = shared.task.work_tile + (more ? 0 : int(gridDim.x));
  }
}

// dq of one query tile where work tiles are splits: what they left in scratch, added up in their order.
template <class T>
__global__ void __launch_bounds__(T::kThreads)
    add_up_splits_kernel(AttentionBwd<bf16> a, AttentionBwdSchedule schedule, Scratch scratch) {
  const int chunk = int(blockIdx.x), first = int(blockIdx.y) * T::kQueries, splits = int(schedule.splits);
  const int b = chunk / int(schedule.sequence_chunks), c = chunk % int(schedule.sequence_chunks);
  // A split has a sum if these queries see the nearest of its key blocks: of those up to the diagonal the one
  // that lies so many blocks before it.
  const int diagonal = first / T::kKeys, seen = a.mask.of(b, a.k.T).first(first) / T::kKeys;
  const int before_first = diagonal + splits - schedule.first_key(0) / T::kKeys % splits;
  QueryGradient<T> sum, part;
  sum.clear();
  for (int split = 0; split < splits; ++split) {
    const bool has_sum = diagonal - (before_first + split) % splits >= seen;
    const float* const from = scratch.dq + (int64_t(chunk) * splits + split) * scratch.dq_floats_of_block;
    part.load_or_clear(from + QueryGradient<T>::scratch_offset(), first, has_sum);
    sum.add(part);
  }
  sum.store_result({a.dq, b, schedule.first_head(c)}, first, float(a.scale) * float(a.dy.H) / float(a.q.H));
}

// out[b, t, g] = the sum of the partials of the chunks that read head g, in their order.
__global__ void __launch_bounds__(kThreads)
    add_up_partials_kernel(Heads<bf16> out, const float* partial, AttentionBwdSchedule::Partials partials,
                           int64_t sequence_chunks) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x, d = i % out.D, row = i / out.D;
  const int64_t t = row % out.T, g = row / out.T % out.H, b = row / out.T / out.H;
  if (b >= out.B) return;
  float sum = 0;
  for (int64_t n = 0; n < partials.count(); ++n)
    sum += partial[((b * sequence_chunks + partials.chunk(g, n)) * out.T + t) * out.D + d];
  out.at(b, t, g)[d] = bf16(sum);
}

void add_up_partials(Stream stream, const Heads<bf16>& out, const float* partial,
                     const AttentionBwdSchedule::Partials& partials, int64_t sequence_chunks) {
  if (!partial) return;
  simt::launch(add_up_partials_kernel, ceil_div(out.B * out.T * out.H * out.D, kThreads), kThreads, 0, stream,
               out, partial, partials, sequence_chunks);
}

template <class T>
void launch_bwd(Stream stream, const AttentionBwd<bf16>& a) {
  static_assert(sizeof(BwdShared<T>) == attention_bwd_shared_bytes(T::E, T::D, T::kKeys));
  const AttentionBwdSchedule schedule(shape_of(a), T::kKeys);
  const Scratch scratch(schedule, a.scratch.data);
  const HeadReads reads{heads_of(a),
                        !(in_vectors(a.q) && in_vectors(a.k) && in_vectors(a.v) && in_vectors(a.dy))};
  simt::launch(attention_bwd_kernel<T>, schedule.thread_blocks(), T::kThreads, sizeof(BwdShared<T>), stream,
               a, schedule, reads, scratch);
  if (schedule.splits > 1)
    simt::launch(add_up_splits_kernel<T>, {schedule.chunks, ceil_div(a.q.T, T::kQueries)}, T::kThreads, 0,
                 stream, a, schedule, scratch);
  add_up_partials(stream, a.dk, scratch.dk, schedule.dk_partials(), schedule.sequence_chunks);
  add_up_partials(stream, a.dv, scratch.dv, schedule.dv_partials(), schedule.sequence_chunks);
}

}  // namespace

void attention_bwd_on_tiles(Stream stream, const AttentionBwd<bf16>& a, const Path& path) {
  with_widths(path.size, [&]<int E, int D>(Widths<E, D>) {
    if (path.variant == Variant::attention_bwd_tile)
      launch_bwd<BwdTile<E, D, kAttentionBwdKeys>>(stream, a);
    else if constexpr (attention_bwd_has_narrow({E, D}))
      launch_bwd<BwdTile<E, D, kAttentionBwdNarrowKeys>>(stream, a);
  });
}

}  // namespace saslm::cuda
