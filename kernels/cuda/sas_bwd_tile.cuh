// A block of the SAS simulation's backward: what lies where, and what precedes the gradients. The design
// stands at the head of sas_bwd.cu.
#pragma once
#include "kernels/cuda/sas_plan.h"
#include "kernels/cuda/sas_tile.cuh"

namespace saslm::cuda {

constexpr int kSasBwdWarps = 8, kSasBwdThreads = kSasBwdWarps * kWarp;

// The gradients of both convolutions' weights, as units of 16 x Mid: row (tap, input channel), column output
// channel. The last block of 8 rows of a convolution is its bias. A warp has up to kEach units of one
// convolution: the first kWarps2 warps deal those of conv2 among them, the others those of conv1.
template <class InSpan, class MidSpan>
struct ConvUnits {
  static constexpr int kUnits1 = (InSpan::kBlocks + 2) / 2, kUnits2 = (MidSpan::kBlocks + 2) / 2;

  static constexpr int warps(int units, int each) { return int(ceil_div(units, each)); }
  static constexpr int each() {
    int e = 1;
    while (warps(kUnits1, e) + warps(kUnits2, e) > kSasBwdWarps) ++e;
    return e;
  }
  static constexpr int kEach = each();
  static constexpr int kWarps1 = warps(kUnits1, kEach), kWarps2 = kSasBwdWarps - kWarps1;
};

template <class D, int Group>
struct Backward {
  static constexpr int kGroup = Group;
  static constexpr int kTokenWarps = kSasBwdWarps / Group, kTokenThreads = kTokenWarps * kWarp;
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
  static constexpr int kAcross = D::kE / 8 % 4 == 0 ? 4 : 2, kDown = kSasBwdWarps / kAcross;
  static constexpr int kRowTiles = int(ceil_div(kRows / 16, kDown));
  static constexpr int kTilesAtOnce = 3;  // of rows: they fit beside the partition's sums
  static_assert(kRows % 16 == 0 && kRowTiles * kDown * 16 >= kRows);
  static constexpr int kOutTiles = int(ceil_div(D::kE / 16, kDown));
  static constexpr int kColumns = D::kE / 8 / kAcross, kInColumns = D::kD / 8 / kAcross;

  static constexpr int kZ3 = std::max(D::kProjections ? kRows * kRowPitch : 0, Group* Mid::kSize);
  struct Shared {
    Weights w;
    alignas(16) bf16 raw[Group][D::kIn * kRawPitch];  // x as it came
    alignas(16) bf16 x[Group][In::kSize];
    alignas(16) bf16 relu_z1[Group][Mid::kSize];
    alignas(16) bf16 z2[Group][Mid::kSize];  // then dZ2
    alignas(16) bf16 dy[kRows * kRowPitch];
    alignas(16) bf16 z3[kZ3];  // relu(Z3), then dZ3, then dZ1's lines

    __device__ __forceinline__ bf16* dz1(int token) { return z3 + token * Mid::kSize; }
  };
};

// Where a warp stands: its token and which of the token's positions, its part of the rows.
template <class B>
struct Place {
  int lane = simt::lane_id(), warp = simt::warp_id();

  __device__ __forceinline__ int token() const { return warp / B::kTokenWarps; }
  __device__ __forceinline__ int part() const { return warp % B::kTokenWarps; }
  __device__ __forceinline__ int position() const { return part() * B::kTiles * 16; }
  __device__ __forceinline__ int down() const { return warp / B::kAcross; }
  __device__ __forceinline__ int column() const { return warp % B::kAcross * B::kColumns * 8; }
  __device__ __forceinline__ int in_column() const { return warp % B::kAcross * B::kInColumns * 8; }
  __device__ __forceinline__ int barrier() const { return 1 + token(); }  // of the token's warps

  // Before a stage: it computes its addresses, so that no registers are kept for them from one to the next.
  __device__ __forceinline__ void renew() { lane = simt::launder(lane), warp = simt::launder(warp); }
};

// What a thread sums over the whole partition.
template <class D, class B>
struct Partial {
  float conv[B::Units::kEach][B::kHeadBlocks][4] = {};
  float proj2[B::kOutTiles][B::kColumns][4] = {};
  float proj1[B::kOutTiles][B::kInColumns][4] = {};
  float proj1_b[B::kColumns][2] = {}, proj2_b[B::kColumns][2] = {};
};

template <class D, class B>
__device__ __forceinline__ void load_group(typename B::Shared& s, const SasBwd<bf16>& a, int64_t first,
                                           int64_t end, const Place<B>& at, bool x_vectors, bool dy_vectors) {
  const int token = first + at.token();
  const int thread = at.part() * kWarp + at.lane, threads = B::kTokenThreads;
  load_token<D::kD>(s.raw[at.token()], B::kRawPitch, a.x, token, token < end, x_vectors, thread, threads);
  load_token<D::kRow>(s.dy + at.token() * D::kMid * B::kRowPitch, B::kRowPitch, a.dy, token, token < end,
                      dy_vectors, thread, threads);
  simt::cp_async_commit();
}

// dy turned back, in place.
template <class D, class B>
__device__ __forceinline__ void turn_back(typename B::Shared& s, const SasBwd<bf16>& a, int64_t first,
                                          int64_t end, const Place<B>& at) {
  constexpr int kHalf = D::kRow / 2;
  const int token = first + at.token();
  if (token >= end) return;
  const int64_t position = token % a.dy.T;
  const bf16* const cos = a.rope.cos[position];
  const bf16* const sin = a.rope.sin[position];
  bf16* const rows = s.dy + at.token() * D::kMid * B::kRowPitch;
  for (int i = at.part() * kWarp + at.lane; i < int(a.dy.H) * (kHalf / 2); i += B::kTokenThreads) {
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
  float z[B::kTiles][B::kHeadBlocks][4];
  start_sums(z, s.w.conv1_b, at.lane);
  convolve<In>(z, s.x[at.token()] + at.position() * In::kPitch, s.w.conv1, at.lane);
  const int here = Mid::kFirst + at.position() * Mid::kPitch;
  store_lines<true>(s.relu_z1[at.token()] + here, Mid::kPitch, z, at.lane);
  if constexpr (D::kProjections) {
    add_bias(z, s.w.conv2_b, at.lane);
    simt::bar_sync(at.barrier(), B::kTokenThreads);
    convolve<Mid>(z, s.relu_z1[at.token()] + at.position() * Mid::kPitch, s.w.conv2, at.lane);
    store_lines<false>(s.z2[at.token()] + here, Mid::kPitch, z, at.lane);
  }
}

}  // namespace saslm::cuda
