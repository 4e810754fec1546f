// Backward through the convolutions of a SAS simulation, Z2 = Z1 + conv2(relu(Z1)), Z1 = conv1(x). In
// order:
//
//   compute_dz1                 dZ1 = dZ2 + [Z1>0] conv2^T(dZ2)                a token by its warps
//   store_dx                    dx  = conv1^T(dZ1)                             a token by its warps
//   add_convolution_gradients   dw2[o,i,j] += sum_p dZ2[o,p] relu(Z1)[i, p+j-K/2], db2[o] += sum_p dZ2[o,p];
//                               dw1, db1 likewise of dZ1 and x                 all tokens, by all warps
//   store_convolution_gradients the partition's sums, once
#pragma once
#include "kernels/cuda/sas_bwd_tile.cuh"

namespace saslm::cuda {

// The transpose of a convolution reads the lines like a convolution, and of the weights, stored
// [output][(tap, input)], for its 8 outputs of block b at tap b / (Mid/8) the mirrored tap's inputs.
template <class Dims, class InSpan>
__device__ __forceinline__ constexpr int mirrored_tap(int block) {
  constexpr int kBlocks = Dims::kMid / 8;
  const int channels = InSpan::kBlocks / Dims::kTaps * 8;
  return block % kBlocks * 8 * InSpan::kWeightPitch + (Dims::kTaps - 1 - block / kBlocks) * channels;
}

// sum += conv2^T(dZ2), kPositionTiles x 16 positions by Mid channels:
//   sum[i,p] += sum_{o,j} w2[o,i,j] dZ2[o, p-j+K/2]
template <class Dims, class B>
__device__ __forceinline__ void conv2_transposed(const typename B::Shared& s, const WarpPlace<B>& at,
                                                 float (&sum)[B::kPositionTiles][B::kHeadBlocks][4]) {
  using Mid = typename B::Mid;
  using Span = typename Mid::Span;
  const bf16* const lines = s.z2[at.token()] + at.position() * Mid::kPitch;
  SIMT_UNROLL
  for (int step = 0; step < Span::kSteps; ++step) {
    const bool half_step = 2 * step + 1 == Span::kBlocks;
    Columns<B::kHeadBlocks> b;
    b.load_transposed(s.w.conv2 + mirrored_tap<Dims, Span>(2 * step),
                      s.w.conv2 + mirrored_tap<Dims, Span>(half_step ? 2 * step : 2 * step + 1),
                      Span::kWeightPitch, at.lane);
    if (half_step) {
      SIMT_UNROLL
      for (auto& r : b.r) r[1] = r[3] = 0;
    }
    SIMT_UNROLL
    for (int m = 0; m < B::kPositionTiles; ++m) {
      uint32_t a[4];
      load_rows(a, lines + m * 16 * Mid::kPitch + Span::offset(step), Mid::kPitch, at.lane);
      multiply(sum[m], a, b);
    }
  }
}

// dZ1 = dZ2 + [Z1>0] conv2^T(dZ2) to its lines, in relu(Z3)'s place, with zeros before and behind them.
template <class Dims, class B>
__device__ __forceinline__ void compute_dz1(typename B::Shared& s, const WarpPlace<B>& at) {
  using Mid = typename B::Mid;
  float dz1[B::kPositionTiles][B::kHeadBlocks][4] = {};
  conv2_transposed<Dims, B>(s, at, dz1);
  const int here = Mid::kFirst + at.position() * Mid::kPitch;
  const int own = here + at.lane / 4 * Mid::kPitch + at.lane % 4 * 2;
  SIMT_UNROLL
  for (int m = 0; m < B::kPositionTiles; ++m) SIMT_UNROLL
  for (int n = 0; n < B::kHeadBlocks; ++n) SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int i = own + (m * 16 + half * 8) * Mid::kPitch + n * 8;
    const float2 z1 = simt::unpack_bf16(simt::ldv<uint32_t>(s.relu_z1[at.token()] + i));
    const float2 dz2 = simt::unpack_bf16(simt::ldv<uint32_t>(s.z2[at.token()] + i));
    float(&dz)[4] = dz1[m][n];
    dz[2 * half] = dz2.x + (z1.x > 0 ? dz[2 * half] : 0.0f);
    dz[2 * half + 1] = dz2.y + (z1.y > 0 ? dz[2 * half + 1] : 0.0f);
  }
  bf16* const lines = s.dz1(at.token());
  store_lines<false>(lines + here, Mid::kPitch, dz1, at.lane);
  constexpr int kLast = Mid::kFirst + Dims::kD * Mid::kPitch;
  const int thread = at.part() * kWarp + at.lane;
  fill_zeros(lines, Mid::kFirst, thread, B::kTokenThreads);
  fill_zeros(lines + kLast, Mid::kSize - kLast, thread, B::kTokenThreads);
}

// dx = conv1^T(dZ1), transposed (In heads by this warp's positions), so that a lane has neighbouring
// positions of a head; straight to global memory.
template <class Dims, class B>
__device__ __forceinline__ void store_dx(typename B::Shared& s, const SasBwd<bf16>& a, const WarpPlace<B>& at,
                                         int first, int end, bool vectors) {
  using Mid = typename B::Mid;
  using Span = typename Mid::Span;
  using InSpan = typename B::In::Span;
  constexpr int M = int(ceil_div(Dims::kIn, 16)), N = B::kPositionTiles * 2;
  float dx[M][N][4] = {};
  const bf16* const lines = s.dz1(at.token()) + at.position() * Mid::kPitch;
  SIMT_UNROLL
  for (int step = 0; step < Span::kSteps; ++step) {
    const bool half_step = 2 * step + 1 == Span::kBlocks;
    Columns<N> b;
    b.load(lines + Span::offset(step), Mid::kPitch, at.lane);
    const int low = mirrored_tap<Dims, InSpan>(2 * step),
              high = half_step ? low : mirrored_tap<Dims, InSpan>(2 * step + 1);
    const bf16* const w = s.w.conv1 + (at.lane / 16 == 0 ? low : high) + at.lane % 8 * InSpan::kWeightPitch;
    SIMT_UNROLL
    for (int m = 0; m < M; ++m) {
      uint32_t r[4];
      simt::ldmatrix_x4_trans(r, w + m * 16 + at.lane / 8 % 2 * 8);
      if (half_step) r[2] = r[3] = 0;
      multiply(dx[m], r, b);
    }
  }
  const int token = first + at.token();
  const int batch = token / int(a.dx.T), t = token % int(a.dx.T);
  SIMT_UNROLL
  for (int m = 0; m < M; ++m) SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int head = m * 16 + half * 8 + at.lane / 4;
    const bool there = token < end && head < int(a.dx.H);
    float2 row[N];
    SIMT_UNROLL
    for (int n = 0; n < N; ++n) row[n] = {dx[m][n][2 * half], dx[m][n][2 * half + 1]};
    store_row(row, {there ? a.dx.at(batch, t, head) + at.position() : nullptr, 0}, {}, vectors, at.lane);
  }
}

// A warp's tiles of one convolution's weight gradient (ConvGradientTiles): tile, tile + Step, ... In: the
// convolution's inputs.
template <class Dims, class B, class In, int Step>
struct ConvGradient {
  static constexpr int kBlocks = In::Span::kBlocks;
  static constexpr int kEach = B::ConvTiles::kEach, kColumns = B::kHeadBlocks;

  // sum += in^T d_out over all positions of all tokens at hand.
  static __device__ __forceinline__ void add(float (&sum)[kEach][kColumns][4], int tile, const bf16* in,
                                             const bf16* d_out, int lane) {
    int offset[kEach];
    SIMT_UNROLL
    for (int u = 0; u < kEach; ++u) {
      const int block = min(2 * (tile + u * Step) + lane / 8 % 2, kBlocks - 1);
      const int tap = block / (In::kChannels / 8), channel = block % (In::kChannels / 8) * 8;
      offset[u] = (tap + lane / 16 * 8 + lane % 8) * In::kPitch + channel;
    }
    constexpr uint32_t kOnes = 0x3f803f80;
    for (int token = 0; token < B::kTokens; ++token, in += In::kSize, d_out += B::Mid::kSize)
      for (int position = 0; position < Dims::kD; position += 16) {
        Columns<kColumns> b;
        b.load_transposed(d_out + B::Mid::kFirst + position * B::Mid::kPitch, B::Mid::kPitch, lane);
        SIMT_UNROLL
        for (int u = 0; u < kEach; ++u) {
          const int block = 2 * (tile + u * Step);
          if (block > kBlocks) continue;
          uint32_t a[4];
          simt::ldmatrix_x4_trans(a, in + offset[u] + position * In::kPitch);
          if (block == kBlocks) a[0] = a[2] = kOnes;
          if (block + 1 == kBlocks) a[1] = a[3] = kOnes;
          multiply(sum[u], a, b);
        }
      }
  }

  static __device__ __forceinline__ void store(const float (&sum)[kEach][kColumns][4], int tile, float* w,
                                               float* bias, const SasShape& s, int64_t channels, int lane) {
    const int missing = (Dims::kTaps - int(s.K)) / 2;
    SIMT_UNROLL
    for (int i = 0; i < kEach * kColumns * 4; ++i) {
      const int u = i / 4 / kColumns, n = i / 4 % kColumns, half = i % 4 / 2;
      const int block = 2 * (tile + u * Step) + half, o = n * 8 + lane % 4 * 2 + i % 2;
      const int tap = block / (In::kChannels / 8) - missing, c = block % (In::kChannels / 8) * 8 + lane / 4;
      if (o >= int(s.Hs)) continue;
      if (block < kBlocks && tap >= 0 && tap < int(s.K) && c < int(channels))
        w[(o * channels + c) * s.K + tap] = sum[u][n][i % 4];
      if (block == kBlocks && lane / 4 == 0) bias[o] = sum[u][n][i % 4];
    }
  }
};
template <class Dims, class B>
using Conv1Gradient = ConvGradient<Dims, B, typename B::In, B::ConvTiles::kWarps1>;
template <class Dims, class B>
using Conv2Gradient = ConvGradient<Dims, B, typename B::Mid, B::ConvTiles::kWarps2>;

template <class Dims, class B>
__device__ __forceinline__ void add_convolution_gradients(typename B::Shared& s, const WarpPlace<B>& at,
                                                          PartitionSums<Dims, B>& sums) {
  constexpr int kWarps2 = B::ConvTiles::kWarps2;
  if (at.warp < kWarps2)
    Conv2Gradient<Dims, B>::add(sums.conv, at.warp, s.relu_z1[0], s.z2[0], at.lane);
  else
    Conv1Gradient<Dims, B>::add(sums.conv, at.warp - kWarps2, s.x[0], s.dz1(0), at.lane);
}

template <class Dims, class B>
__device__ __forceinline__ void store_convolution_gradients(float* partial, const SasGradientLayout& to,
                                                            const SasShape& shape, const WarpPlace<B>& at,
                                                            const PartitionSums<Dims, B>& sums) {
  constexpr int kWarps2 = B::ConvTiles::kWarps2;
  if (at.warp < kWarps2)
    Conv2Gradient<Dims, B>::store(sums.conv, at.warp, partial + to.conv2_w, partial + to.conv2_b, shape,
                                  shape.Hs, at.lane);
  else
    Conv1Gradient<Dims, B>::store(sums.conv, at.warp - kWarps2, partial + to.conv1_w, partial + to.conv1_b,
                                  shape, shape.H, at.lane);
}

}  // namespace saslm::cuda
