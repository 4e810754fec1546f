// A thread block of SAS' backward: its shared memory, which warp computes what, and the first stages (load,
// recompute). The equations and the order of the stages stand at the head of sas_bwd.cu.
//
// Lines    [position][channel] of one token: for the convolutions. A token has kTokenWarps warps of its
//          own, each with kPositionTiles x 16 positions and all channels.
// Rows     [token, head][feature]: for the projections. kRows x E, shared among kRowGroups x kColumnGroups
//          warps, kRowTiles x 16 rows by kColumns x 8 features each.
// Weights  The gradients of a projection's weights, [output][input]: shared among the same warps,
//          kOutputTiles x 16 outputs by kColumns x 8 (proj2) or kInputColumns x 8 (proj1) inputs each.
//          Those of the convolutions: ConvGradientTiles.
#pragma once
#include "kernels/cuda/sas_partitions.h"
#include "kernels/cuda/sas_tile.cuh"

namespace saslm::cuda {

constexpr int kSasBwdWarps = 8, kSasBwdThreads = kSasBwdWarps * kWarp;

// The gradients of both convolutions' weights as matrices, rows (tap, input channel) by columns output
// channel, in tiles of 16 rows by all Mid columns. The last block of 8 rows of a convolution is its bias. The
// first kWarps2 warps share the tiles of conv2, the others those of conv1; a warp has up to kEach.
template <class InSpan, class MidSpan>
struct ConvGradientTiles {
  static constexpr int kTiles1 = (InSpan::kBlocks + 2) / 2, kTiles2 = (MidSpan::kBlocks + 2) / 2;

  static constexpr int warps(int tiles, int each) { return int(ceil_div(tiles, each)); }
  static constexpr int each() {
    int e = 1;
    while (warps(kTiles1, e) + warps(kTiles2, e) > kSasBwdWarps) ++e;
    return e;
  }
  static constexpr int kEach = each();
  static constexpr int kWarps1 = warps(kTiles1, kEach), kWarps2 = kSasBwdWarps - kWarps1;
};

template <class Dims, int Tokens>
struct SasBwdBlock {
  static constexpr int kTokens = Tokens;
  static constexpr int kTokenWarps = kSasBwdWarps / Tokens, kTokenThreads = kTokenWarps * kWarp;
  static constexpr int kPositionTiles = Dims::kD / 16 / kTokenWarps;
  static_assert(kPositionTiles * kTokenWarps * 16 == Dims::kD);

  using In = SasLines<Dims, Dims::kIn>;
  using Mid = SasLines<Dims, Dims::kMid>;
  using Weights = SasWeights<Dims, typename In::Span, typename Mid::Span>;
  using ConvTiles = ConvGradientTiles<typename In::Span, typename Mid::Span>;
  static constexpr int kHeadBlocks = Dims::kMid / 8;  // of a token
  static constexpr int kRows = Tokens * Dims::kMid;
  static constexpr int kRawPitch = Dims::kD + 8, kRowPitch = Dims::kRow + 8;

  static constexpr int kColumnGroups = Dims::kE / 8 % 4 == 0 ? 4 : 2,
                       kRowGroups = kSasBwdWarps / kColumnGroups;
  static constexpr int kRowTiles = int(ceil_div(kRows / 16, kRowGroups));
  static constexpr int kTilesAtOnce = 3;  // of rows: they fit beside the partition's sums
  static_assert(kRows % 16 == 0 && kRowTiles * kRowGroups * 16 >= kRows);
  static constexpr int kOutputTiles = int(ceil_div(Dims::kE / 16, kRowGroups));
  static constexpr int kColumns = Dims::kE / 8 / kColumnGroups, kInputColumns = Dims::kD / 8 / kColumnGroups;

  static constexpr int kZ3 = std::max(Dims::kProjections ? kRows * kRowPitch : 0, Tokens* Mid::kSize);
  struct Shared {
    Weights w;
    alignas(16) bf16 raw[Tokens][Dims::kIn * kRawPitch];  // x as it came
    alignas(16) bf16 x[Tokens][In::kSize];
    alignas(16) bf16 relu_z1[Tokens][Mid::kSize];
    alignas(16) bf16 z2[Tokens][Mid::kSize];  // then dZ2
    alignas(16) bf16 dy[kRows * kRowPitch];
    alignas(16) bf16 z3[kZ3];  // relu(Z3), then dZ3, then dZ1's lines

    __device__ __forceinline__ bf16* dz1(int token) { return z3 + token * Mid::kSize; }
  };
};

// What a warp works on. Of lines: its token, which of the token's warps it is (part), its first position. Of
// rows: which of kRowGroups groups of rows, its first column.
template <class B>
struct WarpPlace {
  int lane = simt::lane_id(), warp = simt::warp_id();

  __device__ __forceinline__ int token() const { return warp / B::kTokenWarps; }
  __device__ __forceinline__ int part() const { return warp % B::kTokenWarps; }
  __device__ __forceinline__ int position() const { return part() * B::kPositionTiles * 16; }
  __device__ __forceinline__ int row_group() const { return warp / B::kColumnGroups; }
  __device__ __forceinline__ int column() const { return warp % B::kColumnGroups * B::kColumns * 8; }
  __device__ __forceinline__ int input_column() const {
    return warp % B::kColumnGroups * B::kInputColumns * 8;
  }
  __device__ __forceinline__ int barrier() const { return 1 + token(); }  // of the token's warps

  // Between stages: the next one computes its addresses again, so that no registers are kept for them.
  __device__ __forceinline__ void recompute_addresses() {
    lane = simt::launder(lane), warp = simt::launder(warp);
  }
};

// What a thread sums over the whole partition, in registers: its share of the gradients of conv1.w, .b,
// conv2.w, .b (a warp has tiles of one of the two), proj1.w, .b, proj2.w, .b.
template <class Dims, class B>
struct PartitionSums {
  float conv[B::ConvTiles::kEach][B::kHeadBlocks][4] = {};
  float proj2[B::kOutputTiles][B::kColumns][4] = {};
  float proj1[B::kOutputTiles][B::kInputColumns][4] = {};
  float proj1_b[B::kColumns][2] = {}, proj2_b[B::kColumns][2] = {};
};

// Load: x (H x D, as it came) and dy (Hs x E) of this warp's token, by cp.async, one group.
template <class Dims, class B>
__device__ __forceinline__ void load_x_and_dy(typename B::Shared& s, const SasBwd<bf16>& a, int64_t first,
                                              int64_t end, const WarpPlace<B>& at, bool x_vectors,
                                              bool dy_vectors) {
  const int token = first + at.token();
  const int thread = at.part() * kWarp + at.lane, threads = B::kTokenThreads;
  load_token<Dims::kD>(s.raw[at.token()], B::kRawPitch, a.x, token, token < end, x_vectors, thread, threads);
  load_token<Dims::kRow>(s.dy + at.token() * Dims::kMid * B::kRowPitch, B::kRowPitch, a.dy, token,
                         token < end, dy_vectors, thread, threads);
  simt::cp_async_commit();
}

// dY = dy, the rope of y taken back, in place: the gradient in Z3 + relu(Z3) W2^T + b2.
//   dy_e = dy_e cos + dy_{e+E/2} sin,   dy_{e+E/2} = dy_{e+E/2} cos - dy_e sin
template <class Dims, class B>
__device__ __forceinline__ void unrotate_dy(typename B::Shared& s, const SasBwd<bf16>& a, int64_t first,
                                            int64_t end, const WarpPlace<B>& at) {
  constexpr int kHalf = Dims::kRow / 2;
  const int token = first + at.token();
  if (token >= end) return;
  const int64_t position = token % a.dy.T;
  const bf16* const cos = a.rope.cos[position];
  const bf16* const sin = a.rope.sin[position];
  bf16* const rows = s.dy + at.token() * Dims::kMid * B::kRowPitch;
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

// Compute, of this warp's kPositionTiles x 16 positions by Mid channels:
//   Z1 = conv1(x)                  relu(Z1) to its lines, in bf16; backward needs no more of it
//   Z2 = Z1 + conv2(relu(Z1))      for the projections alone; Z1 is still in registers, in float
template <class Dims, class B>
__device__ __forceinline__ void recompute_z1_z2(typename B::Shared& s, const WarpPlace<B>& at) {
  using In = typename B::In;
  using Mid = typename B::Mid;
  float z[B::kPositionTiles][B::kHeadBlocks][4];
  start_sums(z, s.w.conv1_b, at.lane);
  convolve<In>(z, s.x[at.token()] + at.position() * In::kPitch, s.w.conv1, at.lane);
  const int here = Mid::kFirst + at.position() * Mid::kPitch;
  store_lines<true>(s.relu_z1[at.token()] + here, Mid::kPitch, z, at.lane);
  if constexpr (Dims::kProjections) {
    add_bias(z, s.w.conv2_b, at.lane);
    simt::bar_sync(at.barrier(), B::kTokenThreads);
    convolve<Mid>(z, s.relu_z1[at.token()] + at.position() * Mid::kPitch, s.w.conv2, at.lane);
    store_lines<false>(s.z2[at.token()] + here, Mid::kPitch, z, at.lane);
  }
}

}  // namespace saslm::cuda
