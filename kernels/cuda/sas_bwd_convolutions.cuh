// Backward through the convolutions of a SAS simulation: a token by its warps, the weights' gradients by all.
#pragma once
#include "kernels/cuda/sas_bwd_tile.cuh"

namespace saslm::cuda {

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
                                           float (&sum)[B::kTiles][B::kHeadBlocks][4]) {
  using Mid = typename B::Mid;
  using Span = typename Mid::Span;
  const bf16* const lines = s.z2[at.token()] + at.position() * Mid::kPitch;
  SIMT_UNROLL
  for (int step = 0; step < Span::kSteps; ++step) {
    const bool half_step = 2 * step + 1 == Span::kBlocks;
    Columns<B::kHeadBlocks> b;
    b.load_transposed(s.w.conv2 + mirrored<D, Span>(2 * step),
                      s.w.conv2 + mirrored<D, Span>(half_step ? 2 * step : 2 * step + 1), Span::kWeightPitch,
                      at.lane);
    if (half_step) {
      SIMT_UNROLL
      for (auto& r : b.r) r[1] = r[3] = 0;
    }
    SIMT_UNROLL
    for (int m = 0; m < B::kTiles; ++m) {
      uint32_t a[4];
      load_rows(a, lines + m * 16 * Mid::kPitch + Span::offset(step), Mid::kPitch, at.lane);
      multiply(sum[m], a, b);
    }
  }
}

// dZ1 = dZ2 + [Z1>0] conv2^T(dZ2) to its lines.
template <class D, class B>
__device__ __forceinline__ void lines_back(typename B::Shared& s, const Place<B>& at) {
  using Mid = typename B::Mid;
  float dz1[B::kTiles][B::kHeadBlocks][4] = {};
  conv2_back<D, B>(s, at, dz1);
  const int here = Mid::kFirst + at.position() * Mid::kPitch;
  const int own = here + at.lane / 4 * Mid::kPitch + at.lane % 4 * 2;
  SIMT_UNROLL
  for (int m = 0; m < B::kTiles; ++m) SIMT_UNROLL
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
  constexpr int kLast = Mid::kFirst + D::kD * Mid::kPitch;
  const int thread = at.part() * kWarp + at.lane;
  fill_zeros(lines, Mid::kFirst, thread, B::kTokenThreads);
  fill_zeros(lines + kLast, Mid::kSize - kLast, thread, B::kTokenThreads);
}

// dx = conv1^T(dZ1), transposed, so that a lane has neighbouring positions of a head; straight to global
// memory.
template <class D, class B>
__device__ __forceinline__ void conv1_back(typename B::Shared& s, const SasBwd<bf16>& a, const Place<B>& at,
                                           int first, int end, bool vectors) {
  using Mid = typename B::Mid;
  using Span = typename Mid::Span;
  using InSpan = typename B::In::Span;
  constexpr int M = int(ceil_div(D::kIn, 16)), N = B::kTiles * 2;
  float dx[M][N][4] = {};
  const bf16* const lines = s.dz1(at.token()) + at.position() * Mid::kPitch;
  SIMT_UNROLL
  for (int step = 0; step < Span::kSteps; ++step) {
    const bool half_step = 2 * step + 1 == Span::kBlocks;
    Columns<N> b;
    b.load(lines + Span::offset(step), Mid::kPitch, at.lane);
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

// A warp's units of one convolution, whose inputs are In: unit, unit + Step, ...
template <class D, class B, class In, int Step>
struct UnitSums {
  static constexpr int kBlocks = In::Span::kBlocks;
  static constexpr int kEach = B::Units::kEach, kColumns = B::kHeadBlocks;

  // sum += in^T d_out over all positions of the group.
  static __device__ __forceinline__ void add(float (&sum)[kEach][kColumns][4], int unit, const bf16* in,
                                             const bf16* d_out, int lane) {
    int offset[kEach];
    SIMT_UNROLL
    for (int u = 0; u < kEach; ++u) {
      const int block = min(2 * (unit + u * Step) + lane / 8 % 2, kBlocks - 1);
      const int tap = block / (In::kChannels / 8), channel = block % (In::kChannels / 8) * 8;
      offset[u] = (tap + lane / 16 * 8 + lane % 8) * In::kPitch + channel;
    }
    constexpr uint32_t kOnes = 0x3f803f80;
    for (int token = 0; token < B::kGroup; ++token, in += In::kSize, d_out += B::Mid::kSize)
      for (int position = 0; position < D::kD; position += 16) {
        Columns<kColumns> b;
        b.load_transposed(d_out + B::Mid::kFirst + position * B::Mid::kPitch, B::Mid::kPitch, lane);
        SIMT_UNROLL
        for (int u = 0; u < kEach; ++u) {
          const int block = 2 * (unit + u * Step);
          if (block > kBlocks) continue;
          uint32_t a[4];
          simt::ldmatrix_x4_trans(a, in + offset[u] + position * In::kPitch);
          if (block == kBlocks) a[0] = a[2] = kOnes;
          if (block + 1 == kBlocks) a[1] = a[3] = kOnes;
          multiply(sum[u], a, b);
        }
      }
  }

  static __device__ __forceinline__ void store(const float (&sum)[kEach][kColumns][4], int unit, float* w,
                                               float* bias, const SasShape& s, int64_t channels, int lane) {
    const int missing = (D::kTaps - int(s.K)) / 2;
    SIMT_UNROLL
    for (int i = 0; i < kEach * kColumns * 4; ++i) {
      const int u = i / 4 / kColumns, n = i / 4 % kColumns, half = i % 4 / 2;
      const int block = 2 * (unit + u * Step) + half, o = n * 8 + lane % 4 * 2 + i % 2;
      const int tap = block / (In::kChannels / 8) - missing, c = block % (In::kChannels / 8) * 8 + lane / 4;
      if (o >= int(s.Hs)) continue;
      if (block < kBlocks && tap >= 0 && tap < int(s.K) && c < int(channels))
        w[(o * channels + c) * s.K + tap] = sum[u][n][i % 4];
      if (block == kBlocks && lane / 4 == 0) bias[o] = sum[u][n][i % 4];
    }
  }
};
template <class D, class B>
using Units1 = UnitSums<D, B, typename B::In, B::Units::kWarps1>;
template <class D, class B>
using Units2 = UnitSums<D, B, typename B::Mid, B::Units::kWarps2>;

template <class D, class B>
__device__ __forceinline__ void add_convolutions(typename B::Shared& s, const Place<B>& at,
                                                 Partial<D, B>& sums) {
  constexpr int kWarps2 = B::Units::kWarps2;
  if (at.warp < kWarps2)
    Units2<D, B>::add(sums.conv, at.warp, s.relu_z1[0], s.z2[0], at.lane);
  else
    Units1<D, B>::add(sums.conv, at.warp - kWarps2, s.x[0], s.dz1(0), at.lane);
}

template <class D, class B>
__device__ __forceinline__ void store_convolutions(float* partial, const SasSums& to, const SasShape& shape,
                                                   const Place<B>& at, const Partial<D, B>& sums) {
  constexpr int kWarps2 = B::Units::kWarps2;
  if (at.warp < kWarps2)
    Units2<D, B>::store(sums.conv, at.warp, partial + to.conv2_w, partial + to.conv2_b, shape, shape.Hs,
                        at.lane);
  else
    Units1<D, B>::store(sums.conv, at.warp - kWarps2, partial + to.conv1_w, partial + to.conv1_b, shape,
                        shape.H, at.lane);
}

}  // namespace saslm::cuda
