// Forward of the SAS simulation on tensor cores, in bf16, for sizes known at run time: any channels,
// positions and taps, features in multiples of 16. What no tile of sas_tiles.h is compiled for, and what
// the card has no room for. Contract: kernels/sas.h; equations: sas_fwd.cu.
//
// Grid     Persistent thread blocks, one a multiprocessor.
// Block    8 warps and up to 8 tokens at a time. Every stage is one product of all its tokens, in tiles
//          that its warps share (sas_wide_product.cuh), with a barrier behind it.
// Load     Block::load_lines: x to lines. All weights once.
// Compute  Block::relu_z1, z2, relu_z3. Z1 and Z3 are computed twice, so that no sum is rounded on its way.
// Store    project: y = rope(Z3 + relu(Z3) W2^T + b2); without projections store_heads: y = rope(Z2).
// Shared   SasWideLayout (sas_wide.h).
// Writes   y (=).
#include "kernels/cuda/sas_wide.h"
#include "kernels/cuda/sas_wide_block.cuh"

namespace saslm::cuda {
namespace {

using wide::Access;
using wide::Block;
using wide::kThreads;
using wide::TokenPlace;

__device__ __forceinline__ void store_pair(bf16* to, float x, float y, bool words) {
  if (words)
    simt::stv(to, simt::pack_bf16(x, y));
  else
    to[0] = bf16(x), to[1] = bf16(y);
}
__device__ __forceinline__ float2 load_pair(const bf16* from, bool words) {
  if (words) return simt::unpack_bf16(simt::ldv<uint32_t>(from));
  return {float(from[0]), float(from[1])};
}

// The rows of y of one token; null: it is not there.
__device__ __forceinline__ bf16* rows_of(const SasFwd<bf16>& a, const TokenPlace& place) {
  return place.b < int(a.y.B) ? a.y.at(place.b, place.position, 0) : nullptr;
}

// y = rope(Z3 + relu(Z3) proj2^T + b) of all tokens at hand.
__device__ __forceinline__ void project(const SasFwd<bf16>& a, const Block& s, int first, int count,
                                        const Access& by) {
  const SasWideLayout& at = s.at;
  const int half = at.E / 2;
  wide::each_warp_tile_of_halves(count, s.head_blocks(), at.E / 16, [&](auto& tile) {
    constexpr int kEach = std::remove_reference_t<decltype(tile)>::kEach;
    tile.start(s.both_proj_b());
    s.proj1(tile);
    wide::add<false, false>(
        tile, [&](int t, int block) { return s.row(t, at.r3, block * 8); }, at.row_pitch,
        [&](int n) { return s.weights + at.proj2 + n * 8 * at.row_pitch; }, at.row_pitch,
        {.inner = at.E / 16, .a_inner = 16, .b_inner = 16});
    const int e = tile.n * 8 + simt::lane_id() % 4 * 2;
    float2 cos[kEach], sin[kEach];
    SIMT_UNROLL
    for (int k = 0; k < kEach; ++k) cos[k] = {1, 1}, sin[k] = {0, 0};
    bf16* rows = nullptr;  // of y, of this token
    SIMT_UNROLL
    for (int i = 0; i < tile.kBlocks; ++i) {
      if (i == 0 || tile.token[i] != tile.token[i - 1]) {
        const TokenPlace place(first + tile.token[i], int(a.y.T));
        rows = rows_of(a, place);
        if (a.rope.cos && rows) {
          const bf16* const c = a.rope.cos[a.start + place.position] + e;
          const bf16* const n = a.rope.sin[a.start + place.position] + e;
          SIMT_UNROLL
          for (int k = 0; k < kEach; ++k)
            if (tile.there(k))
              cos[k] = load_pair(c + k * 8, by.rope_words), sin[k] = load_pair(n + k * 8, by.rope_words);
        }
      }
      const int head = tile.block[i] * 8 + simt::lane_id() / 4;
      if (i >= tile.down || !rows || head >= at.Hs) continue;
      bf16* const to = rows + head * a.y.h_stride + e;
      SIMT_UNROLL
      for (int k = 0; k < kEach; ++k) {
        if (!tile.there(k)) continue;
        const float(&low)[4] = tile.sum[i / 2][k], (&high)[4] = tile.sum[i / 2][k + kEach];
        const float2 c = cos[k], n = sin[k], x = {low[i % 2 * 2], low[i % 2 * 2 + 1]},
                     y = {high[i % 2 * 2], high[i % 2 * 2 + 1]};
        store_pair(to + k * 8, x.x * c.x - y.x * n.x, x.y * c.y - y.y * n.y, by.y_words);
        store_pair(to + k * 8 + half, x.x * n.x + y.x * c.x, x.y * n.y + y.y * c.y, by.y_words);
      }
    }
  });
}

// Without projections: y = rope(Z2).
__device__ __forceinline__ void store_heads_singly(const SasFwd<bf16>& a, const Block& s, int first,
                                                   int count) {
  const SasWideLayout& at = s.at;
  const int half = a.rope.cos ? at.D / 2 : at.D;
  for (int row = simt::warp_id(); row < count * at.Hs; row += wide::kWarps) {
    const int t = row / at.Hs, h = row % at.Hs;
    const TokenPlace place(first + t, int(a.y.T));
    bf16* const rows = rows_of(a, place);
    if (!rows) continue;
    bf16* const to = rows + h * a.y.h_stride;
    for (int d = simt::lane_id(); d < half; d += kWarp) {
      const float low = float(*s.line(t, at.z2, d, h));
      if (!a.rope.cos) {
        to[d] = bf16(low);
        continue;
      }
      const float high = float(*s.line(t, at.z2, d + half, h));
      const int64_t position = a.start + place.position;
      const float c = float(a.rope.cos[position][d]), n = float(a.rope.sin[position][d]);
      to[d] = bf16(low * c - high * n), to[d + half] = bf16(low * n + high * c);
    }
  }
}
// By words: 16 heads at positions d .. d+7 and those `apart` behind them at a time. A rope turns the two with
// each other, and wants whole blocks of them.
__device__ __forceinline__ void store_heads(const SasFwd<bf16>& a, const Block& s, int first, int count) {
  const SasWideLayout& at = s.at;
  const int tiles = s.head_steps(), lane = simt::lane_id();
  const int apart = a.rope.cos ? at.D / 2 : 8, step = a.rope.cos ? 8 : 16, end = a.rope.cos ? apart : at.D;
  for (int i = simt::warp_id(); i < count * tiles; i += wide::kWarps) {
    const int t = i / tiles, head = i % tiles * 16 + lane / 4;
    const TokenPlace place(first + t, int(a.y.T));
    bf16* const rows = rows_of(a, place);
    if (!rows) continue;
    bf16* const to = rows + head * a.y.h_stride + lane % 4 * 2;
    bf16* const below = to + 8 * a.y.h_stride;
    const int64_t position = a.rope.cos ? a.start + place.position : 0;
    const bf16* const cos = a.rope.cos ? a.rope.cos[position] + lane % 4 * 2 : nullptr;
    const bf16* const sin = a.rope.cos ? a.rope.sin[position] + lane % 4 * 2 : nullptr;
    const bf16* const from =
        s.line(t, at.z2, lane % 8 + lane / 8 % 2 * apart, i % tiles * 16 + lane / 16 * 8);
    for (int d = 0; d < end; d += step) {
      uint32_t v[4];  // 8 heads, the same at the other positions; the 8 heads below likewise
      simt::ldmatrix_x4_trans(v, from + d * at.pitch);
      if (cos) {
        const float2 c = load_pair(cos + d, true), n = load_pair(sin + d, true);
        SIMT_UNROLL
        for (int r = 0; r < 4; r += 2) {
          const float2 x = simt::unpack_bf16(v[r]), y = simt::unpack_bf16(v[r + 1]);
          v[r] = simt::pack_bf16(x.x * c.x - y.x * n.x, x.y * c.y - y.y * n.y);
          v[r + 1] = simt::pack_bf16(x.x * n.x + y.x * c.x, x.y * n.y + y.y * c.y);
        }
      }
      const int p = d + lane % 4 * 2;
      SIMT_UNROLL
      for (int r = 0; r < 4; ++r)
        if (head + r / 2 * 8 < at.Hs && p + r % 2 * apart < at.D)
          simt::stv((r < 2 ? to : below) + d + r % 2 * apart, v[r]);
    }
  }
}

__global__ void __launch_bounds__(kThreads, 1)
    sas_fwd_wide_kernel(SasFwd<bf16> a, SasWideLayout at, int tokens, int count, Access by) {
  const Block s(at);
  s.load_weights(a.w, count);
  for (int first = int(blockIdx.x) * count; first < tokens; first += int(gridDim.x) * count) {
    s.load_lines(at.x, at.x_pitch, a.x, {}, first, count, tokens, by.x_words);
    simt::block_sync();
    s.relu_z1(count);
    simt::block_sync();
    s.z2(count);
    simt::block_sync();
    if (at.projections) {
      s.relu_z3(count);
      simt::block_sync();
      project(a, s, first, count, by);
    } else if (by.y_words && (!a.rope.cos || (by.rope_words && at.D % 16 == 0))) {
      store_heads(a, s, first, count);
    } else {
      store_heads_singly(a, s, first, count);
    }
  }
}

}  // namespace

void sas_fwd_wide(Stream stream, const SasFwd<bf16>& a) {
  const simt::DeviceLimits device = simt::device_limits(stream);
  const SasShape shape = sas_shape(a.x, a.y, a.w);
  const SasWideLayout at(shape, false);
  const int count = at.tokens_within(device.shared_bytes);
  simt::launch(sas_fwd_wide_kernel, std::min<int64_t>(device.processors, ceil_div(shape.tokens, count)),
               kThreads, at.bytes(count), stream, a, at, int(shape.tokens), count,
               wide::access_of(a.x, a.y, a.rope));
}

}  // namespace saslm::cuda
