// Forward of attention on tensor cores, in bf16. Contract: kernels/attention.h. FlashAttention-2 (Dao 2023,
// algorithm 1) on mma.sync. For query head h, with K of k(h), V of v(h) and c = scale log2 e, a tile of keys
// after the other:
//
//   S = Q K^T                m' = max(m, c rowmax(S))   P = 2^(c S - m')   l = 2^(m - m') l + rowsum(P)
//   O = 2^(m - m') O + P V   m = m'                     at the end o = O / l, lse = (m + log2 l) / log2 e
//
// Grid     One thread block a work tile: 128 queries of one head; in which order: attention_fwd_schedule.h.
// Block    4 warps, 32 queries each, so that every fragment of keys and values read from shared memory
//          serves two products. The block walks the keys from the left in tiles of 64 (32 for values wider
//          than 96), from the first key that the mask shows to its first query; a warp passes over tiles of
//          which none of its rows sees a key, on either side.
// Load     All threads, by cp.async, two stages: the next tile of keys and values comes in while one is
//          computed on. One barrier a tile says both that the new tile is there and that the old one is
//          free.
// Compute  S and P never leave registers, nor do the queries where there is room.
// Store    o in bf16 and lse in float, from registers, after the last tile.
// Shared   struct Shared; its bytes: attention_tiles.h.
// Writes   o, lse (=). The mean over head groups, y, is attention.cu's.
// Cost     Floor on an H200 at (96, 64), 36 heads, T = 1024, per token: 5.9 MFLOP, 7.5 ns at the card's 790
//          TFLOP/s; traffic 23 KB, 5.4 ns at 4.3 TB/s. mma.sync reaches about 63 % of the former: 12 ns.
//          The tensor cores wait for exp2 (64 clocks a row of tiles against 80 of products), which the
//          second block of an SM is there to hide.
//
// Decoding (few queries, many keys) takes the same path: right, but a block then uses 1 of its 128 rows and a
// head is no more than one block.
#include "core/dims.h"
#include "kernels/cuda/attention_fwd_schedule.h"
#include "kernels/cuda/attention_parts.h"
#include "kernels/cuda/attention_tile.cuh"

namespace saslm::cuda {
namespace {

constexpr int kThreads = 128, kQueries = kAttentionFwdQueries;

template <int E, int D>
struct Shared {
  static constexpr int kKeys = attention_fwd_keys(D);
  bf16 q[kQueries * E], k[2][kKeys * E], v[2][kKeys * D];
  struct {
    int head, b, h, first;
  } work_tile;  // kept here, because only the end asks again and registers are short
  // Of each warp: the first key that its first query sees, and that its last query does.
  int2 edges[kThreads / kWarp];
};

template <int E, int D>
__global__ void __launch_bounds__(kThreads, 2)
    attention_fwd_kernel(AttentionFwd<bf16> a, HeadReads reads, AttentionFwdSchedule schedule) {
  constexpr int kKeys = Shared<E, D>::kKeys, M = 2;  // fragments of 16 rows a warp
  constexpr bool kKeepQueries = E + 2 * D <= 256;
  Shared<E, D>& shared = *simt::dyn_smem<Shared<E, D>>();
  const int head = schedule.head(int(blockIdx.x)), H = int(a.q.H), b = head / H, h = head % H;
  const int first = schedule.query_tile(int(blockIdx.x)) * kQueries, position = int(a.start) + first;
  const int warp_row = warp_of_block() * 16 * M;
  const Rows<const bf16> q(a.q, b, h), k(a.k, b, reads.k(h)), v(a.v, b, reads.v(h));
  const SequenceMask mask = a.mask.of(b, k.count);
  const int first_tile = mask.first(position) / kKeys;
  const int tiles = int(ceil_div(min(position + kQueries, k.count), kKeys));
  const float scale_log2 = float(a.scale) * kLog2e;

  // Load the queries and the first tile of keys and values.
  load_tile<kQueries, E, kThreads>(shared.q, q, first, reads.by_words);
  simt::cp_async_commit();
  load_tile<kKeys, E, kThreads>(shared.k[first_tile % 2], k, first_tile * kKeys, reads.by_words);
  load_tile<kKeys, D, kThreads>(shared.v[first_tile % 2], v, first_tile * kKeys, reads.by_words);
  simt::cp_async_commit();

  const Place<E> own = place_a<E>(warp_row);
  uint32_t queries[kKeepQueries ? E / 16 : 1][M][4];
  const auto query = [&](uint32_t(&fragment)[4], int m, int step) {
    if constexpr (kKeepQueries)
      for (int i = 0; i < 4; ++i) fragment[i] = queries[step][m][i];
    else
      simt::ldmatrix_x4(fragment, shared.q + own(m * 16, 2 * step));
  };
  if constexpr (kKeepQueries) {
    simt::cp_async_wait<1>();
    simt::block_sync();
    SIMT_UNROLL
    for (int i = 0; i < E / 16 * M; ++i)
      simt::ldmatrix_x4(queries[i / M][i % M], shared.q + own(i % M * 16, i / M * 2));
  }
  if (threadIdx.x == 0) shared.work_tile = {head, b, h, first};
  if (lane_of_warp() == 0)
    shared.edges[warp_of_block()] = {mask.first(position + warp_row),
                                     mask.first(position + warp_row + 16 * M - 1)};
  float o[M][D / 8][4] = {};
  Softmax<M> softmax;
  for (int j = first_tile; j < tiles; ++j) {
    // Load: wait for this tile, start the next one.
    simt::cp_async_wait<0>();
    simt::block_sync();
    if (j + 1 < tiles) {
      load_tile<kKeys, E, kThreads>(shared.k[(j + 1) % 2], k, (j + 1) * kKeys, reads.by_words);
      load_tile<kKeys, D, kThreads>(shared.v[(j + 1) % 2], v, (j + 1) * kKeys, reads.by_words);
    }
    simt::cp_async_commit();
    // Compute.
    const int ahead = j * kKeys - (position + warp_row);
    const int2 edges = shared.edges[warp_of_block()];
    if (ahead >= 16 * M || (j + 1) * kKeys <= edges.x) continue;
    float s[M][kKeys / 8][4] = {};
    multiply_rows<E, E / 16>(s, query, shared.k[j % 2]);
    if (ahead + kKeys > 1) hide_future_keys(s, ahead);
    if (j * kKeys < edges.y)
      hide_past_keys(s, a.mask.of(shared.work_tile.b, k.count), position + warp_row, j * kKeys);
    softmax.step(s, o, scale_log2);
    multiply<D, kKeys / 16>(
        o, [&](uint32_t(&fragment)[4], int m, int step) { round_a(fragment, s[m], step); }, shared.v[j % 2]);
  }

  // Store.
  const auto at = shared.work_tile;
  const Rows<bf16> out(a.o, at.b, at.h);
  float* const lse = a.lse.data + int64_t(at.head) * a.q.T;
  SIMT_UNROLL
  for (int m = 0; m < M; ++m) SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const float sum = row_sum(softmax.sum[m][half]), inverse = 1 / sum;
    const int row = at.first + warp_row + row_of(m, 2 * half);
    store_row(out, row, 0, o[m], half, inverse);
    if (row < out.count && lane_of_warp() % 4 == 0)
      lse[row] = (softmax.top[m][half] + simt::log2_approx(sum)) * (1 / kLog2e);
  }
}

template <int E, int D>
void launch_fwd(Stream stream, const AttentionFwd<bf16>& a) {
  static_assert(sizeof(Shared<E, D>) == attention_fwd_shared_bytes(E, D));
  const AttentionFwdSchedule schedule(a.q.B * a.q.H, ceil_div(a.q.T, kQueries),
                                      a.k.T * (E + D) * int64_t(sizeof(bf16)));
  const HeadReads reads{heads_of(a), !(in_vectors(a.q) && in_vectors(a.k) && in_vectors(a.v))};
  simt::launch(attention_fwd_kernel<E, D>, schedule.thread_blocks(), kThreads, sizeof(Shared<E, D>), stream,
               a, reads, schedule);
}

}  // namespace

void attention_fwd_on_tiles(Stream stream, const AttentionFwd<bf16>& a, const Path& path) {
  with_widths(path.size, [&]<int E, int D>(Widths<E, D>) { launch_fwd<E, D>(stream, a); });
}

}  // namespace saslm::cuda
