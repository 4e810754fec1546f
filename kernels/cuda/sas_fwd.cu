// Forward of the SAS simulation on tensor cores, in bf16, at the sizes of sas_tiles.h. Contract:
// kernels/sas.h. Per token:
//
//   Z1 = conv1(x)   Z2 = Z1 + conv2(relu(Z1))   Z3 = Z2 W1^T + b1   y = rope(Z3 + relu(Z3) W2^T + b2)
//
// Grid     Persistent thread blocks, one a multiprocessor.
// Block    Up to 8 warps (sas_fwd_warps). A warp takes two tokens from x to y on its own, so that no warp
//          waits for another: while one stores, another multiplies.
// Load     load_pair: x of the warp's next two tokens by cp.async, while these two are computed. All
//          weights once.
// Compute  convolutions: one token at a time; Z1 stays in registers, in float, and conv2 accumulates onto
//          it. projections: both tokens' heads are rows, 32 at a time; W2 takes relu(Z3) from registers.
// Store    y from registers, the rope applied there (a pair's halves are in one lane), 16 bytes a lane, any
//          strides.
// Shared   Forward::Shared: all weights and, of each warp, two tokens' x and lines.
// Writes   y (=).
// Cost     Floor on an H200 at 12/36 heads, 64/96 features, 5 taps, for q, k and v of a token: 23 KB (5.4
//          ns), 1680 products of 16x8x16 (11.6 ns at mma.sync's rate), and 13 ns of shared memory's
//          bandwidth beside them; warps that do not wait for each other should keep both some 70 % busy. 36
//          heads are padded to 40, 12 to 16 in conv1 alone. Computed, not measured.
#include "kernels/cuda/sas_general.h"
#include "kernels/cuda/sas_tile.cuh"
#include "kernels/cuda/sas_wide.h"
#include "kernels/shape_check.h"

namespace saslm::cuda {
namespace {

constexpr int kTokens = kSasFwdTokens, kMaxWarps = kSasFwdWarps;

template <class Dims>
struct Forward {
  // x lies in the columns of Z1, at their pitch.
  using Mid = SasLines<Dims, Dims::kMid>;
  using In = SasLines<Dims, Dims::kIn, Mid::kPitch>;
  using Weights = SasWeights<Dims, typename In::Span, typename Mid::Span>;
  static constexpr int kRawPitch = Dims::kD + 8;
  static constexpr int kHeadBlocks = Dims::kMid / 8;  // of a token

  struct Warp {
    alignas(16) bf16 raw[kTokens][Dims::kIn * kRawPitch];
    alignas(16) bf16 lines[kTokens][Mid::kSize];
  };
  struct Shared {
    Weights w;
    Warp warps[kMaxWarps];
  };
  static constexpr size_t shared_bytes(int warps) { return offsetof(Shared, warps) + warps * sizeof(Warp); }
};

template <class Dims>
__device__ __forceinline__ void load_pair(typename Forward<Dims>::Warp& s, const Heads<const bf16>& x,
                                          int pair, bool vectors) {
  SIMT_UNROLL
  for (int i = 0; i < kTokens; ++i) {
    const int token = pair * kTokens + i;
    load_token<Dims::kD>(s.raw[i], Forward<Dims>::kRawPitch, x, int(token), token < x.B * x.T, vectors,
                         simt::lane_id(), kWarp);
  }
  simt::cp_async_commit();
}

// x to Z2, in place.
template <class Dims>
__device__ __forceinline__ void convolutions(bf16* lines, const typename Forward<Dims>::Weights& w) {
  using F = Forward<Dims>;
  const int lane =
      simt::launder(simt::lane_id());  // no registers are kept for addresses from one stage to the next
  float sum[Dims::kD / 16][Dims::kMid / 8][4];
  start_sums(sum, w.conv1_b, lane);
  convolve<typename F::In>(sum, lines, w.conv1, lane);
  simt::warp_sync();
  store_lines<true>(lines + F::Mid::kFirst, F::Mid::kPitch, sum, lane);
  add_bias(sum, w.conv2_b, lane);
  simt::warp_sync();
  convolve<typename F::Mid>(sum, lines, w.conv2, lane);
  simt::warp_sync();
  store_lines<false>(lines + F::Mid::kFirst, F::Mid::kPitch, sum, lane);
}

// Where the rows of 8 heads go: block `block` of the pair's, row g of them.
template <class Dims>
__device__ __forceinline__ RowTarget row_target(const SasFwd<bf16>& a, int pair, int block, int lane) {
  const int head = block % Forward<Dims>::kHeadBlocks * 8 + lane / 4;
  const int token = pair * kTokens + block / Forward<Dims>::kHeadBlocks;
  if (token >= a.y.B * a.y.T) return {nullptr, 0};
  const int b = int(token) / int(a.y.T), t = int(token) % int(a.y.T);
  return {head < int(a.y.H) ? a.y.at(b, t, head) : nullptr, a.start + t};
}

// M tiles of 16 rows from Z2 to y.
template <class Dims, int M>
__device__ __forceinline__ void projections(const SasFwd<bf16>& a, const typename Forward<Dims>::Shared& s,
                                            const typename Forward<Dims>::Warp& own, int pair, int tile,
                                            bool vectors) {
  using F = Forward<Dims>;
  constexpr int N = Dims::kE / 8, kSteps = Dims::kE / 16;
  constexpr int kAtOnce = N % 4 == 0 ? 4 : 2;  // columns of weights, so that they fit beside the sums
  const int lane = simt::launder(simt::lane_id());
  const auto block_lines = [&](int block) {
    return own.lines[block / F::kHeadBlocks] + F::Mid::kFirst + block % F::kHeadBlocks * 8;
  };
  float z3[M][N][4];
  start_sums(z3, s.w.proj1_b, lane);
  SIMT_UNROLL
  for (int k = 0; k < Dims::kD; k += 16) {
    uint32_t z2[M][4];
    SIMT_UNROLL
    for (int m = 0; m < M; ++m)
      load_rows_transposed(z2[m], block_lines(2 * (tile + m)) + k * F::Mid::kPitch,
                           block_lines(2 * (tile + m) + 1) + k * F::Mid::kPitch, F::Mid::kPitch, lane);
    SIMT_UNROLL
    for (int n = 0; n < N; n += kAtOnce) {
      Columns<kAtOnce> b;
      b.load(s.w.proj1 + n * 8 * F::Weights::kPitch1 + k, F::Weights::kPitch1, lane);
      SIMT_UNROLL
      for (int m = 0; m < M; ++m) multiply(z3[m] + n, z2[m], b);
    }
  }
  uint32_t r3[M][kSteps][4];  // relu(Z3)
  SIMT_UNROLL
  for (int m = 0; m < M; ++m) SIMT_UNROLL
  for (int k = 0; k < kSteps; ++k) SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float(&z)[4] = z3[m][2 * k + i / 2];
    r3[m][k][i] = simt::pack_bf16(relu(z[i % 2 * 2]), relu(z[i % 2 * 2 + 1]));
  }
  add_bias(z3, s.w.proj2_b, lane);
  SIMT_UNROLL
  for (int k = 0; k < kSteps; ++k) SIMT_UNROLL
  for (int n = 0; n < N; n += kAtOnce) {
    Columns<kAtOnce> b;
    b.load(s.w.proj2 + n * 8 * F::Weights::kPitch2 + k * 16, F::Weights::kPitch2, lane);
    SIMT_UNROLL
    for (int m = 0; m < M; ++m) multiply(z3[m] + n, r3[m][k], b);
  }
  SIMT_UNROLL
  for (int m = 0; m < M; ++m) SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    float2 row[N];
    SIMT_UNROLL
    for (int n = 0; n < N; ++n) row[n] = {z3[m][n][2 * half], z3[m][n][2 * half + 1]};
    store_row(row, row_target<Dims>(a, pair, 2 * (tile + m) + half, lane), a.rope, vectors, lane);
  }
}

// Without projections: Z2 to y.
template <class Dims>
__device__ __forceinline__ void store_pair(const SasFwd<bf16>& a, const typename Forward<Dims>::Warp& own,
                                           int pair, bool vectors) {
  using Mid = typename Forward<Dims>::Mid;
  constexpr int kHeadBlocks = Forward<Dims>::kHeadBlocks, N = Dims::kD / 8;
  const int lane = simt::lane_id();
  SIMT_ROLLED
  for (int block = 0; block < kTokens * kHeadBlocks; ++block) {
    const bf16* const lines = own.lines[block / kHeadBlocks] + Mid::kFirst + block % kHeadBlocks * 8;
    float2 row[N];
    SIMT_UNROLL
    for (int n = 0; n < N; n += 4) {
      uint32_t r[4];
      simt::ldmatrix_x4_trans(r, lines + (n * 8 + lane) * Mid::kPitch);
      SIMT_UNROLL
      for (int k = 0; k < 4; ++k) row[n + k] = simt::unpack_bf16(r[k]);
    }
    store_row(row, row_target<Dims>(a, pair, block, lane), a.rope, vectors, lane);
  }
}

template <class Dims>
__global__ void __launch_bounds__(kMaxWarps* kWarp, 1)
    sas_fwd_kernel(SasFwd<bf16> a, int pairs, bool x_vectors, bool y_vectors) {
  using F = Forward<Dims>;
  auto& s = *simt::dyn_smem<typename F::Shared>();
  auto& own = s.warps[simt::warp_id()];
  const int warps = int(blockDim.x) / kWarp;
  load_weights(s.w, a.w);
  fill_zeros(own.raw[0], sizeof(own) / sizeof(bf16), simt::lane_id(), kWarp);
  simt::block_sync();

  const int step = int(gridDim.x) * warps;
  int pair = int(blockIdx.x) * warps + simt::warp_id();
  if (pair < pairs) load_pair<Dims>(own, a.x, pair, x_vectors);
  for (; pair < pairs; pair += step) {
    simt::cp_async_wait<0>();
    simt::warp_sync();  // x is there, and nobody reads the lines of the pair before
    SIMT_ROLLED
    for (int i = 0; i < kTokens; ++i)
      transpose<Dims::kIn, Dims::kD>(own.lines[i] + F::Mid::kFirst, F::Mid::kPitch, own.raw[i], F::kRawPitch,
                                     0, 1, simt::launder(simt::lane_id()));
    simt::warp_sync();
    if (pair + step < pairs) load_pair<Dims>(own, a.x, pair + step, x_vectors);
    SIMT_ROLLED
    for (int i = 0; i < kTokens; ++i) convolutions<Dims>(own.lines[i], s.w);
    simt::warp_sync();
    if constexpr (Dims::kProjections) {
      constexpr int kTiles = kTokens * Dims::kMid / 16;
      SIMT_ROLLED
      for (int tile = 0; tile + 1 < kTiles; tile += 2) projections<Dims, 2>(a, s, own, pair, tile, y_vectors);
      if constexpr (kTiles % 2 == 1) projections<Dims, 1>(a, s, own, pair, kTiles - 1, y_vectors);
    } else {
      store_pair<Dims>(a, own, pair, y_vectors);
    }
  }
}

template <class Dims>
void launch_forward(Stream stream, const SasFwd<bf16>& a) {
  using F = Forward<Dims>;
  static_assert(F::shared_bytes(3) == sas_fwd_shared_bytes(size_of<Dims>, 3));
  const simt::DeviceLimits device = simt::device_limits(stream);
  const int pairs = int(ceil_div(a.x.B * a.x.T, kTokens));
  const int warps = sas_fwd_warps(size_of<Dims>, device.shared_bytes);
  simt::launch(sas_fwd_kernel<Dims>, std::min<int64_t>(device.processors, ceil_div(pairs, warps)),
               warps * kWarp, F::shared_bytes(warps), stream, a, pairs, vector_rows(a.x), vector_rows(a.y));
}

}  // namespace

template <class T>
void sas_fwd(Stream stream, const SasFwd<T>& a) {
  a.check();
  const Path path = choose(paths_of(simt::device_limits(stream), a), stream);
  if (path.slow()) {
    sas_fwd_general(stream, a);
  } else if constexpr (std::is_same_v<T, bf16>) {
    if (path.variant == Variant::sas_fwd_wide) return sas_fwd_wide(stream, a);
    with_dims(path.size, [&]<class Dims>(Dims) { launch_forward<Dims>(stream, a); });
  }
}

template void sas_fwd<float>(Stream, const SasFwd<float>&);
template void sas_fwd<bf16>(Stream, const SasFwd<bf16>&);

}  // namespace saslm::cuda
