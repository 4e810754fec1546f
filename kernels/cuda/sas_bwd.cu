// Contract: kernels/sas.h. Meaning: kernels/cpu/sas_bwd.cpp.
//
// A block sums one partition (sas_plan.h), G tokens at a time, and is alone on its multiprocessor. All
// weights and G tokens' lines and rows lie in shared memory; the weights' gradients of the whole partition
// lie in the registers of its 8 warps, in float, and leave them once, for a.partial; a second kernel adds the
// partitions in order.
//
//   recompute     8/G warps a token: Z1, Z2; nothing of it ever leaves the block
//   projections   all rows dealt to all warps: Z3 again, dZ3 = dy + [Z3>0] (dy W2), and dW2 += dy^T relu(Z3),
//                 dW1 += dZ3^T Z2; then dZ2 = dZ3 W1 per token
//   convolutions  dZ1 = dZ2 + [Z1>0] conv2^T(dZ2) and dx = conv1^T(dZ1) per token, the transposes by reading
//   the
//                 same weights transposed; dW of conv2 and conv1 over all tokens
//
// Biases of the convolutions are one more "tap" whose inputs are ones. The next x and dy are copied ahead by
// cp.async as soon as their places are free. Z2's lines become dZ2's, relu(Z3)'s rows dZ3's and then dZ1's
// lines. Floor on an H200 at 12/36 heads, 64/96 features, 5 taps: 28 KB and 4432 products of 16x8x16 a token
// and layer (q, k and v): 6.4 ns by memory, 31 ns by mma.sync, 38 ns by shared memory.
#include "kernels/cuda/sas_general.h"
#include "kernels/cuda/sas_plan.h"
#include "kernels/cuda/sas_tile.cuh"

namespace saslm::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarp;

// The gradients of both convolutions' weights, as units of 16 x Mid: row (tap, input channel), column output
// channel. The last block of 8 rows of a convolution is its bias. A warp has two units of one convolution
// and, if more are left, one or two of conv1.
template <class InSpan, class MidSpan>
struct ConvUnits {
  static constexpr int kUnits1 = (InSpan::kBlocks + 2) / 2, kUnits2 = (MidSpan::kBlocks + 2) / 2;
  static constexpr int kPairs2 = (kUnits2 + 1) / 2;
  static constexpr int kDealt1 = kUnits1 < 2 * (kWarps - kPairs2) ? kUnits1 : 2 * (kWarps - kPairs2);
  static constexpr int kMore = int(ceil_div(kUnits1 - kDealt1, kWarps));
  static_assert(kPairs2 <= kWarps && kMore <= 2);
};

template <class D, int Group>
struct Backward {
  static constexpr int kGroup = Group;
  static constexpr int kTokenWarps = kWarps / Group;
  static constexpr int kTiles = D::kD / 16 / kTokenWarps;  // of 16 positions of a token, a warp's
  static_assert(kTiles * kTokenWarps * 16 == D::kD);

  using In = SasLines<D, D::kIn>;
  using Mid = SasLines<D, D::kMid>;
  using Weights = SasWeights<D, typename In::Span, typename Mid::Span>;
  using Units = ConvUnits<typename In::Span, typename Mid::Span>;
  static constexpr int kHeadBlocks = D::kMid / 8;  // of a token
  static constexpr int kRows = Group * D::kMid;
  static constexpr int kRawPitch = D::kD + 8, kRowPitch = D::kRow + 8;

  // Rows by features, and projections' weights, are dealt to kDown x kAcross warps.
  static constexpr int kAcross = D::kE / 8 % 4 == 0 ? 4 : 2, kDown = kWarps / kAcross;
  static constexpr int kRowTiles = int(ceil_div(kRows / 16, kDown));
  static_assert(kRows % 16 == 0 && kRowTiles * kDown * 16 >= kRows);
  static constexpr int kOutTiles = int(ceil_div(D::kE / 16, kDown));
  static constexpr int kColumns = D::kE / 8 / kAcross, kInColumns = D::kD / 8 / kAcross;

  struct Shared {
    Weights w;
    alignas(16) bf16 raw[Group][D::kIn * kRawPitch];  // x as it came
    alignas(16) bf16 x[Group][In::kSize];
    alignas(16) bf16 relu_z1[Group][Mid::kSize];
    alignas(16) bf16 z2[Group][Mid::kSize];  // then dZ2
    alignas(16) bf16 dy[kRows * kRowPitch];
    alignas(
        16) bf16 z3[std::max(D::kProjections ? kRows * kRowPitch : 0, Group* Mid::kSize)];  // relu, dZ3, dZ1

    __device__ __forceinline__ bf16* dz1(int token) { return z3 + token * Mid::kSize; }
  };
};

// Where a warp stands: its token and which of the token's positions, its part of the rows, its lane.
template <class B>
struct Place {
  int lane = simt::lane_id(), warp = simt::warp_id();
  int token = warp / B::kTokenWarps, part = warp % B::kTokenWarps;
  int down = warp / B::kAcross, column = warp % B::kAcross * B::kColumns * 8;
  int in_column = warp % B::kAcross * B::kInColumns * 8;

  __device__ __forceinline__ int position() const { return part * B::kTiles * 16; }
  __device__ __forceinline__ void sync_token() const { simt::bar_sync(1 + token, B::kTokenWarps * kWarp); }
};

// What a thread sums over the whole partition.
template <class D, class B>
struct Partial {
  Sums<2, B::kHeadBlocks> conv = {};
  Sums<B::Units::kMore == 0 ? 1 : B::Units::kMore, B::kHeadBlocks> more = {};
  Sums<B::kOutTiles, B::kColumns> proj2 = {};
  Sums<B::kOutTiles, B::kInColumns> proj1 = {};
  float proj1_b[B::kColumns][2] = {}, proj2_b[B::kColumns][2] = {};
};

template <class D, class B>
__device__ __forceinline__ void load_group(typename B::Shared& s, const SasBwd<bf16>& a, int64_t first,
                                           int64_t end, const Place<B>& at, bool x_vectors, bool dy_vectors) {
  const int64_t token = first + at.token;
  const int thread = at.part * kWarp + at.lane, threads = B::kTokenWarps * kWarp;
  load_token<D::kD>(s.raw[at.token], B::kRawPitch, a.x, int(token), token < end, x_vectors, thread, threads);
  load_token<D::kRow>(s.dy + at.token * D::kMid * B::kRowPitch, B::kRowPitch, a.dy, int(token), token < end,
                      dy_vectors, thread, threads);
  simt::cp_async_commit();
}

// dy turned back, in place.
template <class D, class B>
__device__ __forceinline__ void turn_back(typename B::Shared& s, const SasBwd<bf16>& a, int64_t first,
                                          int64_t end, const Place<B>& at) {
  constexpr int kHalf = D::kRow / 2;
  const int64_t token = first + at.token;
  if (token >= end) return;
  const int64_t position = token % a.dy.T;
  const bf16* const cos = a.rope.cos[position];
  const bf16* const sin = a.rope.sin[position];
  bf16* const rows = s.dy + at.token * D::kMid * B::kRowPitch;
  for (int i = at.part * kWarp + at.lane; i < int(a.dy.H) * (kHalf / 2); i += B::kTokenWarps * kWarp) {
    const int c = i % (kHalf / 2) * 2;
    bf16* const row = rows + i / (kHalf / 2) * B::kRowPitch + c;
    const float2 low = simt::unpack_bf16(simt::ldv<uint32_t>(row));
    const float2 high = simt::unpack_bf16(simt::ldv<uint32_t>(row + kHalf));
    const float c0 = float(cos[c]), c1 = float(cos[c + 1]), s0 = float(sin[c]), s1 = float(sin[c + 1]);
    simt::stv(row, simt::pack_bf16(low.x * c0 + high.x * s0, low.y * c1 + high.y * s1));
    simt::stv(row + kHalf, simt::pack_bf16(high.x * c0 - low.x * s0, high.y * c1 - low.y * s1));
  }
}

// x to relu(Z1) and, for the projections, Z2: a token by its warps.
template <class D, class B>
__device__ __forceinline__ void recompute(typename B::Shared& s, const Place<B>& at) {
  using In = typename B::In;
  using Mid = typename B::Mid;
  Sums<B::kTiles, B::kHeadBlocks> z;
  start_sums(z, s.w.conv1_b);
  convolve<In>(z, s.x[at.token] + at.position() * In::kPitch, s.w.conv1);
  const int here = Mid::kFirst + at.position() * Mid::kPitch;
  store_lines<true>(s.relu_z1[at.token] + here, Mid::kPitch, z);
  if constexpr (D::kProjections) {
    add_bias(z, s.w.conv2_b);
    at.sync_token();
    convolve<Mid>(z, s.relu_z1[at.token] + at.position() * Mid::kPitch, s.w.conv2);
    store_lines<false>(s.z2[at.token] + here, Mid::kPitch, z);
  }
}

// The first line of 8 rows' heads.
template <class B>
__device__ __forceinline__ const bf16* block_lines(const typename B::Shared& s, int block) {
  return s.z2[block / B::kHeadBlocks] + B::Mid::kFirst + block % B::kHeadBlocks * 8;
}

constexpr int kTilesAtOnce = 3;  // of 16 rows, so that they fit beside the partition's sums

// Z3 of this warp's rows and columns: relu(Z3) to shared memory; a bit says where it is above 0.
template <class D, class B>
__device__ __forceinline__ void project(typename B::Shared& s, const Place<B>& at,
                                        uint32_t (&positive)[B::kRowTiles]) {
  using W = typename B::Weights;
  SIMT_UNROLL
  for (int m0 = 0; m0 < B::kRowTiles; m0 += kTilesAtOnce) {
    Sums<kTilesAtOnce, B::kColumns> z3;
    start_sums(z3, s.w.proj1_b + at.column);
    SIMT_UNROLL
    for (int k = 0; k < D::kD; k += 16) {
      Columns<B::kColumns> b;
      b.load(s.w.proj1 + at.column * W::kPitch1 + k, W::kPitch1);
      SIMT_UNROLL
      for (int m = 0; m < kTilesAtOnce; ++m) {
        const int tile = at.down * B::kRowTiles + m0 + m;
        if (m0 + m >= B::kRowTiles || tile >= B::kRows / 16) continue;
        uint32_t z2[4];
        load_rows_transposed(z2, block_lines<B>(s, 2 * tile) + k * B::Mid::kPitch,
                             block_lines<B>(s, 2 * tile + 1) + k * B::Mid::kPitch, B::Mid::kPitch);
        multiply(z3[m], z2, b);
      }
    }
    SIMT_UNROLL
    for (int m = 0; m < kTilesAtOnce; ++m) {
      const int tile = at.down * B::kRowTiles + m0 + m;
      if (m0 + m >= B::kRowTiles || tile >= B::kRows / 16) continue;
      uint32_t bits = 0;
      SIMT_UNROLL
      for (int i = 0; i < B::kColumns * 4; ++i) bits |= uint32_t{z3[m][i / 4][i % 4] > 0} << i;
      positive[m0 + m] = bits;
      Sums<1, B::kColumns> one;
      SIMT_UNROLL
      for (int i = 0; i < B::kColumns * 4; ++i) one[0][i / 4][i % 4] = z3[m][i / 4][i % 4];
      store_lines<true>(s.z3 + tile * 16 * B::kRowPitch + at.column, B::kRowPitch, one);
    }
  }
}

// dZ3 = dy + [Z3>0] (dy W2) of this warp's rows and columns, as pairs in bf16; both biases' gradients.
template <class D, class B>
__device__ __forceinline__ void project_back(const typename B::Shared& s, const Place<B>& at,
                                             const uint32_t (&positive)[B::kRowTiles],
                                             uint32_t (&dz3)[B::kRowTiles][B::kColumns][2],
                                             Partial<D, B>& sums) {
  using W = typename B::Weights;
  SIMT_UNROLL
  for (int m0 = 0; m0 < B::kRowTiles; m0 += kTilesAtOnce) {
    Sums<kTilesAtOnce, B::kColumns> branch = {};
    SIMT_UNROLL
    for (int k = 0; k < D::kE; k += 16) {
      Columns<B::kColumns> b;
      b.load_transposed(s.w.proj2 + k * W::kPitch2 + at.column, W::kPitch2);
      SIMT_UNROLL
      for (int m = 0; m < kTilesAtOnce; ++m) {
        const int tile = at.down * B::kRowTiles + m0 + m;
        if (m0 + m >= B::kRowTiles || tile >= B::kRows / 16) continue;
        uint32_t dy[4];
        load_rows(dy, s.dy + tile * 16 * B::kRowPitch + k, B::kRowPitch);
        multiply(branch[m], dy, b);
      }
    }
    SIMT_UNROLL
    for (int m = 0; m < kTilesAtOnce; ++m) {
      const int tile = at.down * B::kRowTiles + m0 + m;
      if (m0 + m >= B::kRowTiles || tile >= B::kRows / 16) continue;
      const bf16* const dy = s.dy + (tile * 16 + at.lane / 4) * B::kRowPitch + at.column + at.lane % 4 * 2;
      SIMT_UNROLL
      for (int i = 0; i < B::kColumns * 2; ++i) {
        const int n = i / 2, half = i % 2;
        const float2 g = simt::unpack_bf16(simt::ldv<uint32_t>(dy + half * 8 * B::kRowPitch + n * 8));
        const uint32_t bits = positive[m0 + m] >> (n * 4 + half * 2);
        const float x = g.x + ((bits & 1) != 0 ? branch[m][n][half * 2] : 0.0f);
        const float y = g.y + ((bits & 2) != 0 ? branch[m][n][half * 2 + 1] : 0.0f);
        sums.proj2_b[n][0] += g.x, sums.proj2_b[n][1] += g.y;
        sums.proj1_b[n][0] += x, sums.proj1_b[n][1] += y;
        dz3[m0 + m][n][half] = simt::pack_bf16(x, y);
      }
    }
  }
}

template <class B>
__device__ __forceinline__ void store_dz3(typename B::Shared& s, const Place<B>& at,
                                          const uint32_t (&dz3)[B::kRowTiles][B::kColumns][2]) {
  SIMT_UNROLL
  for (int m = 0; m < B::kRowTiles; ++m) {
    const int tile = at.down * B::kRowTiles + m;
    if (tile >= B::kRows / 16) continue;
    bf16* const to = s.z3 + (tile * 16 + at.lane / 4) * B::kRowPitch + at.column + at.lane % 4 * 2;
    SIMT_UNROLL
    for (int i = 0; i < B::kColumns * 2; ++i)
      simt::stv(to + i % 2 * 8 * B::kRowPitch + i / 2 * 8, dz3[m][i / 2][i % 2]);
  }
}

// sum += d_out^T in over all rows; in(b, k) loads rows 16k .. 16k+15 of the inputs.
template <class D, class B, int N, class In>
__device__ __forceinline__ void add_linear(Sums<B::kOutTiles, N>& sum, const bf16* d_out, const Place<B>& at,
                                           In in) {
  for (int k = 0; k < B::kRows / 16; ++k) {
    Columns<N> b;
    in(b, k);
    SIMT_UNROLL
    for (int m = 0; m < B::kOutTiles; ++m) {
      const int tile = at.down * B::kOutTiles + m;
      if (tile >= D::kE / 16) continue;
      uint32_t a[4];
      const bf16* const out = d_out + k * 16 * B::kRowPitch + tile * 16;
      load_rows_transposed(a, out, out + 8, B::kRowPitch);
      multiply(sum[m], a, b);
    }
  }
}

// dZ2 = dZ3 W1, transposed: positions by heads, of this warp's token and positions.
template <class D, class B>
__device__ __forceinline__ void widths_back(const typename B::Shared& s, const Place<B>& at,
                                            Sums<B::kTiles, B::kHeadBlocks>& dz2) {
  using W = typename B::Weights;
  SIMT_UNROLL
  for (int k = 0; k < D::kE; k += 16) {
    Columns<B::kHeadBlocks> b;
    b.load(s.z3 + at.token * D::kMid * B::kRowPitch + k, B::kRowPitch);
    SIMT_UNROLL
    for (int m = 0; m < B::kTiles; ++m) {
      uint32_t a[4];
      const bf16* const w = s.w.proj1 + k * W::kPitch1 + at.position() + m * 16;
      load_rows_transposed(a, w, w + 8, W::kPitch1);
      multiply(dz2[m], a, b);
    }
  }
}

// The transpose of a convolution reads the lines like a convolution, and of the weights, stored
// [output][(tap, input)], for its 8 outputs of block b at tap b / (Mid/8) the mirrored tap's inputs.
template <class D, class InSpan>
__device__ __forceinline__ constexpr int mirrored(int block) {
  constexpr int kBlocks = D::kMid / 8;
  const int channels = InSpan::kBlocks / D::kTaps * 8;
  return block % kBlocks * 8 * InSpan::kWeightPitch + (D::kTaps - 1 - block / kBlocks) * channels;
}

// sum[positions][Mid] += conv2^T(dZ2)
template <class D, class B>
__device__ __forceinline__ void conv2_back(const typename B::Shared& s, const Place<B>& at,
                                           Sums<B::kTiles, B::kHeadBlocks>& sum) {
  using Mid = typename B::Mid;
  using Span = typename Mid::Span;
  const bf16* const lines = s.z2[at.token] + at.position() * Mid::kPitch;
  SIMT_UNROLL
  for (int step = 0; step < Span::kSteps; ++step) {
    const bool half_step = 2 * step + 1 == Span::kBlocks;
    Columns<B::kHeadBlocks> b;
    b.load_transposed(s.w.conv2 + mirrored<D, Span>(2 * step),
                      s.w.conv2 + mirrored<D, Span>(half_step ? 2 * step : 2 * step + 1), Span::kWeightPitch);
    if (half_step) {
      SIMT_UNROLL
      for (auto& r : b.r) r[1] = r[3] = 0;
    }
    SIMT_UNROLL
    for (int m = 0; m < B::kTiles; ++m) {
      uint32_t a[4];
      load_rows(a, lines + m * 16 * Mid::kPitch + Span::offset(step), Mid::kPitch);
      multiply(sum[m], a, b);
    }
  }
}

// dZ1 = dZ2 + [Z1>0] conv2^T(dZ2) to its lines.
template <class D, class B>
__device__ __forceinline__ void lines_back(typename B::Shared& s, const Place<B>& at,
                                           Sums<B::kTiles, B::kHeadBlocks>& dz) {
  using Mid = typename B::Mid;
  Sums<B::kTiles, B::kHeadBlocks> branch = {};
  conv2_back<D, B>(s, at, branch);
  const int here = Mid::kFirst + at.position() * Mid::kPitch;
  const bf16* const z1 = s.relu_z1[at.token] + here + at.lane / 4 * Mid::kPitch + at.lane % 4 * 2;
  SIMT_UNROLL
  for (int m = 0; m < B::kTiles; ++m) SIMT_UNROLL
  for (int n = 0; n < B::kHeadBlocks; ++n) SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const float2 z = simt::unpack_bf16(simt::ldv<uint32_t>(z1 + (m * 16 + half * 8) * Mid::kPitch + n * 8));
    dz[m][n][2 * half] += z.x > 0 ? branch[m][n][2 * half] : 0.0f;
    dz[m][n][2 * half + 1] += z.y > 0 ? branch[m][n][2 * half + 1] : 0.0f;
  }
  bf16* const lines = s.dz1(at.token);
  store_lines<false>(lines + here, Mid::kPitch, dz);
  constexpr int kLast = Mid::kFirst + D::kD * Mid::kPitch;
  const int thread = at.part * kWarp + at.lane, threads = B::kTokenWarps * kWarp;
  fill_zeros(lines, Mid::kFirst, thread, threads);
  fill_zeros(lines + kLast, Mid::kSize - kLast, thread, threads);
}

// Without projections dy is dZ2: from the lines to sums.
template <class D, class B>
__device__ __forceinline__ void read_lines(const typename B::Shared& s, const Place<B>& at,
                                           Sums<B::kTiles, B::kHeadBlocks>& dz2) {
  using Mid = typename B::Mid;
  const bf16* const from = s.z2[at.token] + Mid::kFirst + (at.position() + at.lane / 4) * Mid::kPitch;
  SIMT_UNROLL
  for (int m = 0; m < B::kTiles; ++m) SIMT_UNROLL
  for (int n = 0; n < B::kHeadBlocks; ++n) SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const bf16* const pair = from + (m * 16 + half * 8) * Mid::kPitch + n * 8 + at.lane % 4 * 2;
    const float2 z = simt::unpack_bf16(simt::ldv<uint32_t>(pair));
    dz2[m][n][2 * half] = z.x, dz2[m][n][2 * half + 1] = z.y;
  }
}

// dx = conv1^T(dZ1), transposed, so that a lane has neighbouring positions of a head; straight to global
// memory.
template <class D, class B>
__device__ __forceinline__ void conv1_back(typename B::Shared& s, const SasBwd<bf16>& a, const Place<B>& at,
                                           int64_t first, int64_t end, bool vectors) {
  using Mid = typename B::Mid;
  using Span = typename Mid::Span;
  using InSpan = typename B::In::Span;
  constexpr int M = int(ceil_div(D::kIn, 16)), N = B::kTiles * 2;
  Sums<M, N> dx = {};
  const bf16* const lines = s.dz1(at.token) + at.position() * Mid::kPitch;
  SIMT_UNROLL
  for (int step = 0; step < Span::kSteps; ++step) {
    const bool half_step = 2 * step + 1 == Span::kBlocks;
    Columns<N> b;
    b.load(lines + Span::offset(step), Mid::kPitch);
    const int low = mirrored<D, InSpan>(2 * step), high = half_step ? low : mirrored<D, InSpan>(2 * step + 1);
    const bf16* const w = s.w.conv1 + (at.lane / 16 == 0 ? low : high) + at.lane % 8 * InSpan::kWeightPitch;
    SIMT_UNROLL
    for (int m = 0; m < M; ++m) {
      uint32_t r[4];
      simt::ldmatrix_x4_trans(r, w + m * 16 + at.lane / 8 % 2 * 8);
      if (half_step) r[2] = r[3] = 0;
      multiply(dx[m], r, b);
    }
  }
  const int64_t token = first + at.token;
  const int batch = int(token) / int(a.dx.T), t = int(token) % int(a.dx.T);
  SIMT_UNROLL
  for (int m = 0; m < M; ++m) SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int head = m * 16 + half * 8 + at.lane / 4;
    const bool there = token < end && head < int(a.dx.H);
    float2 row[N];
    SIMT_UNROLL
    for (int n = 0; n < N; ++n) row[n] = {dx[m][n][2 * half], dx[m][n][2 * half + 1]};
    store_row(row, {there ? a.dx.at(batch, t, head) + at.position() : nullptr, 0}, {}, vectors);
  }
}

// S units of one convolution, from `unit` on: sum += in^T d_out over all positions of the group.
template <class D, class B, class In, int S>
struct UnitSums {
  static constexpr int kBlocks = In::Span::kBlocks, kUnits = (kBlocks + 2) / 2;

  static __device__ __forceinline__ void add(Sums<S, B::kHeadBlocks>& sum, int unit, int next, const bf16* in,
                                             const bf16* d_out, int lane) {
    int offset[S];
    SIMT_UNROLL
    for (int u = 0; u < S; ++u) {
      const int block = min(2 * (unit + u * next) + lane / 8 % 2, kBlocks - 1);
      const int tap = block / (In::kChannels / 8), channel = block % (In::kChannels / 8) * 8;
      offset[u] = (tap + lane / 16 * 8 + lane % 8) * In::kPitch + channel;
    }
    constexpr uint32_t kOnes = 0x3f803f80;
    for (int token = 0; token < B::kGroup; ++token, in += In::kSize, d_out += B::Mid::kSize)
      for (int position = 0; position < D::kD; position += 16) {
        Columns<B::kHeadBlocks> b;
        b.load_transposed(d_out + B::Mid::kFirst + position * B::Mid::kPitch, B::Mid::kPitch);
        SIMT_UNROLL
        for (int u = 0; u < S; ++u) {
          if (unit + u * next >= kUnits) continue;
          uint32_t a[4];
          simt::ldmatrix_x4_trans(a, in + offset[u] + position * In::kPitch);
          if (2 * (unit + u * next) == kBlocks) a[0] = a[2] = kOnes;
          if (2 * (unit + u * next) + 1 == kBlocks) a[1] = a[3] = kOnes;
          multiply(sum[u], a, b);
        }
      }
  }

  static __device__ __forceinline__ void store(const Sums<S, B::kHeadBlocks>& sum, int unit, int next,
                                               float* w, float* bias, const SasShape& s, int64_t channels,
                                               int lane) {
    const int missing = (D::kTaps - int(s.K)) / 2;
    SIMT_UNROLL
    for (int i = 0; i < S * B::kHeadBlocks * 4; ++i) {
      const int u = i / 4 / B::kHeadBlocks, n = i / 4 % B::kHeadBlocks, half = i % 4 / 2;
      const int block = 2 * (unit + u * next) + half, o = n * 8 + lane % 4 * 2 + i % 2;
      const int tap = block / (In::kChannels / 8) - missing, c = block % (In::kChannels / 8) * 8 + lane / 4;
      if (o >= int(s.Hs)) continue;
      if (block < kBlocks && tap >= 0 && tap < int(s.K) && c < int(channels))
        w[(o * channels + c) * s.K + tap] = sum[u][n][i % 4];
      if (block == kBlocks && lane / 4 == 0) bias[o] = sum[u][n][i % 4];
    }
  }
};

template <class D, class B>
__device__ __forceinline__ void add_convolutions(typename B::Shared& s, const Place<B>& at,
                                                 Partial<D, B>& sums) {
  using U = typename B::Units;
  if (at.warp < U::kPairs2)
    UnitSums<D, B, typename B::Mid, 2>::add(sums.conv, 2 * at.warp, 1, s.relu_z1[0], s.z2[0], at.lane);
  else
    UnitSums<D, B, typename B::In, 2>::add(sums.conv, 2 * (at.warp - U::kPairs2), 1, s.x[0], s.z3, at.lane);
  if constexpr (U::kMore > 0)
    UnitSums<D, B, typename B::In, U::kMore>::add(sums.more, U::kDealt1 + kWarps - 1 - at.warp, kWarps,
                                                  s.x[0], s.z3, at.lane);
}

// A partition's projections: weights as they lie in the warps, biases once more over rows and warps.
template <class D, class B>
__device__ __forceinline__ void store_projections(typename B::Shared& s, float* partial, const SasSums& to,
                                                  const Place<B>& at, const Partial<D, B>& sums) {
  const int g = at.lane / 4, t = at.lane % 4;
  SIMT_UNROLL
  for (int m = 0; m < B::kOutTiles; ++m) {
    const int tile = at.down * B::kOutTiles + m;
    if (tile >= D::kE / 16) continue;
    SIMT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int e = tile * 16 + half * 8 + g;
      float* const w1 = partial + to.proj1_w + e * D::kD + at.in_column + 2 * t;
      float* const w2 = partial + to.proj2_w + e * D::kE + at.column + 2 * t;
      SIMT_UNROLL
      for (int i = 0; i < B::kInColumns * 2; ++i)
        w1[i / 2 * 8 + i % 2] = sums.proj1[m][i / 2][half * 2 + i % 2];
      SIMT_UNROLL
      for (int i = 0; i < B::kColumns * 2; ++i)
        w2[i / 2 * 8 + i % 2] = sums.proj2[m][i / 2][half * 2 + i % 2];
    }
  }
  float* const shared = reinterpret_cast<float*>(s.raw[0]);  // [bias][down][E]
  SIMT_UNROLL
  for (int i = 0; i < B::kColumns * 4; ++i) {
    float sum = i % 2 == 0 ? sums.proj1_b[i / 4][i / 2 % 2] : sums.proj2_b[i / 4][i / 2 % 2];
    SIMT_UNROLL
    for (int lanes = 4; lanes < kWarp; lanes *= 2) sum += simt::shuffle_xor(sum, lanes);
    if (g == 0)
      shared[(i % 2 * B::kDown + at.down) * D::kE + at.column + i / 4 * 8 + 2 * t + i / 2 % 2] = sum;
  }
  simt::block_sync();
  for (int i = int(threadIdx.x); i < 2 * D::kE; i += kThreads) {
    const float* const all = shared + i / D::kE * B::kDown * D::kE + i % D::kE;
    float sum = 0;
    for (int down = 0; down < B::kDown; ++down) sum += all[down * D::kE];
    partial[(i < D::kE ? to.proj1_b : to.proj2_b) + i % D::kE] = sum;
  }
}

template <class D, class B>
__device__ __forceinline__ void store_partial(typename B::Shared& s, float* partial, const SasShape& shape,
                                              const Place<B>& at, const Partial<D, B>& sums) {
  using U = typename B::Units;
  const SasSums to(shape);
  float *const w1 = partial + to.conv1_w, *const b1 = partial + to.conv1_b;
  if (at.warp < U::kPairs2)
    UnitSums<D, B, typename B::Mid, 2>::store(sums.conv, 2 * at.warp, 1, partial + to.conv2_w,
                                              partial + to.conv2_b, shape, shape.Hs, at.lane);
  else
    UnitSums<D, B, typename B::In, 2>::store(sums.conv, 2 * (at.warp - U::kPairs2), 1, w1, b1, shape, shape.H,
                                             at.lane);
  if constexpr (U::kMore > 0)
    UnitSums<D, B, typename B::In, U::kMore>::store(sums.more, U::kDealt1 + kWarps - 1 - at.warp, kWarps, w1,
                                                    b1, shape, shape.H, at.lane);
  if constexpr (D::kProjections) store_projections<D, B>(s, partial, to, at, sums);
}

struct BackwardLaunch {
  SasShape shape;
  int64_t partition_tokens;
  bool x_vectors, dy_vectors, dx_vectors;
};

template <class D, int Group>
__global__ void __launch_bounds__(kThreads, 1) sas_bwd_kernel(SasBwd<bf16> a, BackwardLaunch launch) {
  using B = Backward<D, Group>;
  auto& s = *simt::dyn_smem<typename B::Shared>();
  const Place<B> at;
  load_weights(s.w, a.w);
  fill_zeros(s.raw[0], int((sizeof(s) - sizeof(s.w)) / sizeof(bf16)), int(threadIdx.x), kThreads);
  simt::block_sync();

  int64_t first = int64_t(blockIdx.x) * launch.partition_tokens;
  const int64_t end = min(first + launch.partition_tokens, launch.shape.tokens);
  const auto load = [&](int64_t token) {
    load_group<D, B>(s, a, token, end, at, launch.x_vectors, launch.dy_vectors);
  };
  Partial<D, B> sums;
  load(first);
  for (; first < end; first += Group) {
    simt::cp_async_wait<0>();
    simt::block_sync();  // x and dy are there, and nobody reads what the group before left
    if (a.rope.cos) turn_back<D, B>(s, a, first, end, at);
    transpose<D::kIn, D::kD>(s.x[at.token] + B::In::kFirst, B::In::kPitch, s.raw[at.token], B::kRawPitch,
                             at.part, B::kTokenWarps);
    if constexpr (!D::kProjections) {
      at.sync_token();
      transpose<D::kMid, D::kD>(s.z2[at.token] + B::Mid::kFirst, B::Mid::kPitch,
                                s.dy + at.token * D::kMid * B::kRowPitch, B::kRowPitch, at.part,
                                B::kTokenWarps);
    }
    at.sync_token();
    if constexpr (!D::kProjections) load(first + Group);
    recompute<D, B>(s, at);
    Sums<B::kTiles, B::kHeadBlocks> dz = {};
    if constexpr (D::kProjections) {
      simt::block_sync();  // Z2 and dy of all tokens
      uint32_t positive[B::kRowTiles] = {}, dz3[B::kRowTiles][B::kColumns][2] = {};
      project<D, B>(s, at, positive);
      simt::block_sync();  // relu(Z3)
      add_linear<D, B>(sums.proj2, s.dy, at, [&](auto& b, int k) {
        b.load_transposed(s.z3 + k * 16 * B::kRowPitch + at.column, B::kRowPitch);
      });
      project_back<D, B>(s, at, positive, dz3, sums);
      simt::block_sync();  // relu(Z3) and dy have been read
      load(first + Group);
      store_dz3<B>(s, at, dz3);
      simt::block_sync();  // dZ3
      add_linear<D, B>(sums.proj1, s.z3, at, [&](auto& b, int k) {
        const int line = at.in_column * B::Mid::kPitch;
        b.load(block_lines<B>(s, 2 * k) + line, block_lines<B>(s, 2 * k + 1) + line, B::Mid::kPitch);
      });
      widths_back<D, B>(s, at, dz);
      simt::block_sync();  // Z2 and dZ3 have been read
      store_lines<false>(s.z2[at.token] + B::Mid::kFirst + at.position() * B::Mid::kPitch, B::Mid::kPitch,
                         dz);
      at.sync_token();
    } else {
      read_lines<D, B>(s, at, dz);
    }
    lines_back<D, B>(s, at, dz);
    simt::block_sync();  // dZ1 of all tokens
    conv1_back<D, B>(s, a, at, first, end, launch.dx_vectors);
    add_convolutions<D, B>(s, at, sums);
  }
  simt::cp_async_wait<0>();
  simt::block_sync();
  store_partial<D, B>(s, a.partial.data + blockIdx.x * SasSums(launch.shape).size, launch.shape, at, sums);
}

// Where the gradients of one parameter go, in the order of SasSums.
struct Target {
  float* data;
  int64_t first, cols, stride;
};
struct Targets {
  Target all[8];
};

__global__ void __launch_bounds__(kThreads)
    sas_add_partials_kernel(Targets to, const float* partial, int64_t size, int64_t partitions) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= size) return;
  float sum = 0;
  SIMT_UNROLL
  for (int64_t p = 0; p < partitions; ++p) sum += partial[p * size + i];
  Target target = to.all[0];
  SIMT_UNROLL
  for (int k = 1; k < 8; ++k)
    if (i >= to.all[k].first) target = to.all[k];
  target.data[(i - target.first) / target.cols * target.stride + (i - target.first) % target.cols] += sum;
}

void add_partials(Stream stream, const SasParams<float>& dw, const float* partial, const SasShape& s) {
  const SasSums at(s);
  const auto weights = [](const Mat<float>& w, int64_t first) {
    return Target{w.data, first, w.cols, w.stride};
  };
  const auto bias = [](const Vec<float>& b, int64_t first) { return Target{b.data, first, b.size, b.size}; };
  const Targets to{{weights(dw.conv1_w, at.conv1_w), bias(dw.conv1_b, at.conv1_b),
                    weights(dw.conv2_w, at.conv2_w), bias(dw.conv2_b, at.conv2_b),
                    weights(dw.proj1_w, at.proj1_w), bias(dw.proj1_b, at.proj1_b),
                    weights(dw.proj2_w, at.proj2_w), bias(dw.proj2_b, at.proj2_b)}};
  if (at.size == 0) return;
  simt::launch(sas_add_partials_kernel, ceil_div(at.size, kThreads), kThreads, 0, stream, to, partial,
               at.size, sas_partitions(s.tokens));
}

template <class D, int Group>
bool try_group(Stream stream, const SasBwd<bf16>& a, const SasShape& s) {
  using Shared = typename Backward<D, Group>::Shared;
  if (sizeof(Shared) > simt::device_limits(stream).shared_bytes) return false;
  const BackwardLaunch launch{s, sas_partition_tokens(s.tokens), vector_rows(a.x), vector_rows(a.dy),
                              vector_rows(a.dx)};
  simt::launch(sas_bwd_kernel<D, Group>, sas_partitions(s.tokens), kThreads, sizeof(Shared), stream, a,
               launch);
  return true;
}

// Two tokens at a time where four do not fit (sm_80).
template <class D>
bool try_backward(Stream stream, const SasBwd<bf16>& a, const SasShape& s) {
  if (!fits<D>(s)) return false;
  if (try_group<D, 4>(stream, a, s)) return true;
  if constexpr (D::kD == 64)
    return try_group<D, 2>(stream, a, s);
  else
    return false;
}

template <class... D>
bool try_any(Stream stream, const SasBwd<bf16>& a, const SasShape& s) {
  return (try_backward<D>(stream, a, s) || ...);
}

}  // namespace

template <class T>
void sas_bwd(Stream stream, const SasBwd<T>& a) {
  a.check();
  const SasShape s = sas_shape(a.x, a.dy, a.w);
  bool done = false;
  if constexpr (std::is_same_v<T, bf16>)
    done = try_any<SasDims<16, 16, 32, 48, 5>, SasDims<16, 16, 32, 0, 5>,   // quickstart
                   SasDims<16, 40, 64, 96, 5>, SasDims<16, 40, 64, 0, 5>,   // 124M
                   SasDims<16, 48, 64, 96, 5>, SasDims<16, 48, 64, 0, 5>,   // 353M
                   SasDims<40, 40, 64, 96, 5>, SasDims<40, 40, 64, 0, 5>>(  // 124M over tpa
        stream, a, s);
  if (!done) sas_bwd_general(stream, a);
  add_partials(stream, a.dw, a.partial.data, s);
}

template void sas_bwd<float>(Stream, const SasBwd<float>&);
template void sas_bwd<bf16>(Stream, const SasBwd<bf16>&);

}  // namespace saslm::cuda
