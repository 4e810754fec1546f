// Backward of the SAS simulation on tensor cores, in bf16, for sizes known at run time. Contract:
// kernels/sas.h; equations: sas_bwd.cu; why: sas_wide_fwd.cu.
//
// Grid     A thread block a partition (sas_partitions.h).
// Block    8 warps and up to 8 tokens at a time; every stage is one product (sas_wide_product.cuh).
// Load     Block::load_lines: x to lines. load_rows: dy to rows, the rope taken back.
// Compute  Block::relu_z1, z2 again; projections_bwd: from dY to dZ2, dW1, dW2; compute_dz1; add_conv: dw1,
//          dw2.
// Store    store_dx: dx = conv1^T(dZ1), from registers.
// Shared   SasWideLayout (sas_wide.h).
// Writes   dx (=), a.partial (=). The block adds its partition up there, in float, some tokens after the
//          others: an element is always the same thread's, so that the order is fixed.
// Cost     The sums pass L2: 0.2 MB for each 8 tokens at 12/36 heads, 64/96 features.
#include "kernels/cuda/sas_partitions.h"
#include "kernels/cuda/sas_wide.h"
#include "kernels/cuda/sas_wide_block.cuh"

namespace saslm::cuda {
namespace {

using wide::Access;
using wide::Block;
using wide::each_result;
using wide::each_warp_tile;
using wide::kThreads;
using wide::TokenPlace;

// Load: dy, the rope taken back, to rows; zeros for heads and tokens that are not there.
__device__ __forceinline__ void load_rows_singly(const Block& s, const SasBwd<bf16>& a, int first, int count,
                                                 int end) {
  const SasWideLayout& at = s.at;
  const int half = at.E / 2;
  for (int row = simt::warp_id(); row < count * at.heads; row += wide::kWarps) {
    const int t = row / at.heads, h = row % at.heads, token = first + t;
    const TokenPlace place(token, int(a.dy.T));
    const bf16* const source = token < end && h < at.Hs ? a.dy.at(place.b, place.position, h) : nullptr;
    bf16* const to = s.row(t, at.dy, h);
    for (int e = simt::lane_id(); e < half; e += kWarp) {
      if (a.rope.cos) {
        const float2 turned = Block::unrotate(source, a.rope, place.position, e, half);
        to[e] = bf16(turned.x), to[e + half] = bf16(turned.y);
      } else {
        to[e] = source ? source[e] : bf16(0.0f), to[e + half] = source ? source[e + half] : bf16(0.0f);
      }
    }
  }
}
// 8 features of each half at a time.
__device__ __forceinline__ void load_rows(const Block& s, const SasBwd<bf16>& a, int first, int count,
                                          int end) {
  const SasWideLayout& at = s.at;
  const int half = at.E / 2, chunks = at.E / 16, heads = min(kThreads / chunks, at.heads);
  const int e = int(threadIdx.x) % chunks * 8, h0 = int(threadIdx.x) / chunks;
  for (int t = 0; t < count; ++t) {
    const int token = first + t;
    const TokenPlace place(token, int(a.dy.T));
    const bf16* const source = a.dy.at(place.b, place.position, 0) + e;
    for (int h = h0 < heads ? h0 : at.heads; h < at.heads; h += heads) {
      uint4 low{}, high{};
      if (token < end && h < at.Hs) {
        const bf16* const from = source + h * a.dy.h_stride;
        low = simt::ldv<uint4>(from), high = simt::ldv<uint4>(from + half);
        if (a.rope.cos) {
          const uint4 cos = simt::ldv<uint4>(a.rope.cos[place.position] + e);
          const uint4 sin = simt::ldv<uint4>(a.rope.sin[place.position] + e);
          const auto turn = [](uint32_t& x, uint32_t& y, uint32_t c, uint32_t s2) {
            const float2 l = simt::unpack_bf16(x), r = simt::unpack_bf16(y);
            const float2 co = simt::unpack_bf16(c), si = simt::unpack_bf16(s2);
            x = simt::pack_bf16(l.x * co.x + r.x * si.x, l.y * co.y + r.y * si.y);
            y = simt::pack_bf16(r.x * co.x - l.x * si.x, r.y * co.y - l.y * si.y);
          };
          turn(low.x, high.x, cos.x, sin.x), turn(low.y, high.y, cos.y, sin.y);
          turn(low.z, high.z, cos.z, sin.z), turn(low.w, high.w, cos.w, sin.w);
        }
      }
      bf16* const to = s.row(t, at.dy, h) + e;
      simt::stv(to, low), simt::stv(to + half, high);
    }
  }
}

// dW += d_out^T in over the rows of all tokens: d_out rows of E features; in(n) is where 8 inputs begin.
// `inputs` of them are there, tiles of 8.
template <bool kTransposed, class In>
__device__ __forceinline__ void add_linear(const Block& s, int d_out, In in, int in_pitch, int in_step,
                                           int inputs, int count, float* w) {
  const SasWideLayout& at = s.at;
  each_warp_tile(1, at.E / 8, int(ceil_div(inputs, 8)), [&](auto& tile) {
    tile.start();
    wide::add<true, kTransposed>(tile, [&](int, int block) { return s.row(0, d_out, 0) + block * 8; },
                                 at.row_pitch, in, in_pitch,
                                 {.outer = count,
                                  .inner = s.head_steps(),
                                  .a_outer = at.token,
                                  .a_inner = 16 * at.row_pitch,
                                  .b_outer = at.token,
                                  .b_inner = in_step});
    const int column = tile.n * 8 + simt::lane_id() % 4 * 2;
    const bool whole = inputs % 8 == 0;
    each_result(
        tile, [&](int, int row) { return w + row * inputs + column; },
        [&](float* to, int c, float x, float y) {
          if (whole || column + c < inputs) to[c] += x;
          if (whole || column + c + 1 < inputs) to[c + 1] += y;
        });
  });
}
// db += the sum of d_out's rows, by the product of their transpose with ones: of `tiles` tiles of 16 columns,
// of which `size` columns are there.
template <class A>
__device__ __forceinline__ void add_column_sums(int tiles, A d_out, int pitch, int outer, int inner,
                                                int a_outer, int size, float* b) {
  const int lane = simt::lane_id();
  constexpr uint32_t kOnes = 0x3f803f80;
  for (int tile = simt::warp_id(); tile < tiles; tile += wide::kWarps) {
    float sum[4] = {};
    const simt::MatrixRows from =
        simt::matrix_rows(d_out(tile) + lane / 8 % 2 * 8 + (lane / 16 * 8 + lane % 8) * pitch);
    SIMT_ROLLED
    for (int o = 0; o < outer; ++o) {
      simt::MatrixRows at = from + o * a_outer * int(sizeof(bf16));
      SIMT_ROLLED
      for (int i = 0; i < inner; ++i, at = at + 16 * pitch * int(sizeof(bf16))) {
        uint32_t rows[4];
        simt::ldmatrix_x4_trans(rows, at);
        simt::mma_m16n8k16(sum, rows, kOnes, kOnes);
      }
    }
    const int i = tile * 16 + lane / 4;
    if (lane % 4 == 0 && i < size) b[i] += sum[0];
    if (lane % 4 == 0 && i + 8 < size) b[i + 8] += sum[2];
  }
}
__device__ __forceinline__ void add_row_sums(const Block& s, int rows, int count, float* b) {
  add_column_sums(
      s.at.E / 16, [&](int tile) { return s.row(0, rows, 0) + tile * 16; }, s.at.row_pitch, count,
      s.head_steps(), s.at.token, s.at.E, b);
}

// Compute, projections: from dY to dZ2 in Z2's place; the gradients of both.
__device__ __forceinline__ void projections_bwd(const Block& s, int count, float* sums,
                                                const SasGradientLayout& to) {
  const SasWideLayout& at = s.at;
  s.relu_z3(count);
  simt::block_sync();
  add_linear<true>(
      s, at.dy, [&](int n) { return s.row(0, at.r3, 0) + n * 8; }, at.row_pitch, 16 * at.row_pitch, at.E,
      count, sums + to.proj2_w);
  add_row_sums(s, at.dy, count, sums + to.proj2_b);
  simt::block_sync();
  struct Rows {
    bf16 *z3, *dy;
  };
  each_warp_tile(count, s.head_blocks(), at.E / 8,
                 [&](auto& tile) {  // dZ3 = dy + [Z3>0] (dy W2), in relu(Z3)'s place
                   tile.start();
                   wide::add<false, true>(
                       tile, [&](int t, int block) { return s.row(t, at.dy, block * 8); }, at.row_pitch,
                       [&](int n) { return s.weights + at.proj2 + n * 8; }, at.row_pitch,
                       {.inner = at.E / 16, .a_inner = 16, .b_inner = 16 * at.row_pitch});
                   const int column = tile.n * 8 + simt::lane_id() % 4 * 2;
                   each_result(
                       tile,
                       [&](int t, int h) {
                         return Rows{s.row(t, at.r3, h) + column, s.row(t, at.dy, h) + column};
                       },
                       [&](const Rows& rows, int c, float x, float y) {
                         const float2 dy = simt::unpack_bf16(simt::ldv<uint32_t>(rows.dy + c));
                         const float2 z = simt::unpack_bf16(simt::ldv<uint32_t>(rows.z3 + c));
                         simt::stv(rows.z3 + c,
                                   simt::pack_bf16(dy.x + (z.x > 0 ? x : 0.0f), dy.y + (z.y > 0 ? y : 0.0f)));
                       });
                 });
  simt::block_sync();
  add_linear<false>(
      s, at.r3, [&](int n) { return s.line(0, at.z2, n * 8, 0); }, at.pitch, 16, at.D, count,
      sums + to.proj1_w);
  add_row_sums(s, at.r3, count, sums + to.proj1_b);
  for (int t = 0; t < count; ++t)  // dy has been read; dZ1 takes its place
    fill_zeros(s.tokens + t * at.token + at.dy, at.lines(), int(threadIdx.x), kThreads);
  simt::block_sync();
  each_warp_tile(
      count, s.position_blocks(), at.mid / 8,
      [&](auto& tile) {  // dZ2 = dZ3 W1, transposed
        tile.start();
        wide::add<true, false>(
            tile, [&](int, int block) { return s.weights + at.proj1 + block * 8; }, at.proj1_pitch,
            [&](int n) { return s.row(tile.token[0], at.r3, n * 8); }, at.row_pitch,
            {.inner = at.E / 16, .a_inner = 16 * at.proj1_pitch, .b_inner = 16});
        const int column = tile.n * 8 + simt::lane_id() % 4 * 2;
        each_result(
            tile, [&](int t, int p) { return s.line(t, at.z2, p, column); },
            [&](bf16* z2, int c, float x, float y) { simt::stv(z2 + c, simt::pack_bf16(x, y)); });
      },
      true);
}

// dZ1 = dZ2 + [Z1>0] conv2^T(dZ2).
__device__ __forceinline__ void compute_dz1(const Block& s, int count) {
  const SasWideLayout& at = s.at;
  struct Lines {
    bf16 *z1, *dz2, *dz1;
  };
  each_warp_tile(count, s.position_blocks(), at.mid / 8, [&](auto& tile) {
    const auto back = [&]<bool kHalf>(std::bool_constant<kHalf>, int channel, int steps) {
      wide::add<false, true, kHalf>(
          tile,
          [&](int t, int block) { return s.tokens + t * at.token + at.z2 + block * 8 * at.pitch + channel; },
          at.pitch,
          [&](int n) {
            return s.weights + at.conv2 + channel * at.conv2_pitch + (at.K - 1) * at.mid + n * 8;
          },
          at.conv2_pitch,
          {.outer = at.K,
           .inner = steps,
           .a_outer = at.pitch,
           .a_inner = 16,
           .b_outer = -at.mid,
           .b_inner = 16 * at.conv2_pitch});
    };
    tile.start();
    back(std::false_type(), 0, at.mid / 16);
    if (at.mid % 16 != 0) back(std::true_type(), at.mid - 8, 1);
    const int column = tile.n * 8 + simt::lane_id() % 4 * 2;
    each_result(
        tile,
        [&](int t, int p) {
          return Lines{s.line(t, at.r1, p, column), s.line(t, at.z2, p, column), s.line(t, at.dy, p, column)};
        },
        [&](const Lines& lines, int c, float x, float y) {
          const float2 z1 = simt::unpack_bf16(simt::ldv<uint32_t>(lines.z1 + c));
          const float2 dz2 = simt::unpack_bf16(simt::ldv<uint32_t>(lines.dz2 + c));
          simt::stv(lines.dz1 + c,
                    simt::pack_bf16(dz2.x + (z1.x > 0 ? x : 0.0f), dz2.y + (z1.y > 0 ? y : 0.0f)));
        });
  });
}

// dx = conv1^T(dZ1), transposed: heads by the positions of all tokens.
__device__ __forceinline__ void store_dx(const Block& s, const SasBwd<bf16>& a, int first, int count, int end,
                                         bool words) {
  const SasWideLayout& at = s.at;
  const int blocks = s.position_blocks();
  each_warp_tile(1, at.in / 8, count * blocks, [&](auto& tile) {
    constexpr int kColumns = std::remove_reference_t<decltype(tile)>::kColumns;
    const auto back = [&]<bool kHalf>(std::bool_constant<kHalf>, int channel, int steps) {
      wide::add<true, false, kHalf>(
          tile,
          [&](int, int block) {
            return s.weights + at.conv1 + channel * at.conv1_pitch + (at.K - 1) * at.in + block * 8;
          },
          at.conv1_pitch,
          [&](int n) {
            return s.tokens + n / blocks * at.token + at.dy + n % blocks * 8 * at.pitch + channel;
          },
          at.pitch,
          {.outer = at.K,
           .inner = steps,
           .a_outer = -at.in,
           .a_inner = 16 * at.conv1_pitch,
           .b_outer = at.pitch,
           .b_inner = 16});
    };
    tile.start();
    back(std::false_type(), 0, at.mid / 16);
    if (at.mid % 16 != 0) back(std::true_type(), at.mid - 8, 1);
    SIMT_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      const int n = tile.n + k, token = first + n / blocks, p = n % blocks * 8 + simt::lane_id() % 4 * 2;
      if (!tile.there(k) || token >= end || p >= at.D) continue;
      const TokenPlace place(token, int(a.dx.T));
      bf16* const rows = a.dx.at(place.b, place.position, 0) + p;
      SIMT_UNROLL
      for (int i = 0; i < tile.kBlocks; ++i) {
        const int h = tile.block[i] * 8 + simt::lane_id() / 4;
        if (i >= tile.down || h >= at.H) continue;
        bf16* const to = rows + h * a.dx.h_stride;
        const float x = tile.sum[i / 2][k][i % 2 * 2], y = tile.sum[i / 2][k][i % 2 * 2 + 1];
        if (words)
          simt::stv(to, simt::pack_bf16(x, y));
        else if (to[0] = bf16(x); p + 1 < at.D)
          to[1] = bf16(y);
      }
    }
  });
}

// dW += d_out^T in, a tap's inputs after the other's; db += the sum of d_out over positions.
__device__ __forceinline__ void add_conv(const Block& s, int d_out, int in, int in_pitch, int inputs,
                                         int count, float* w, float* b) {
  const SasWideLayout& at = s.at;
  const int blocks = int(ceil_div(inputs, 8));
  each_warp_tile(1, at.mid / 8, at.K * blocks, [&](auto& tile) {
    tile.start();
    wide::add<true, true>(
        tile, [&](int, int block) { return s.line(0, d_out, 0, block * 8); }, at.pitch,
        [&](int n) { return s.tokens + in + n / blocks * in_pitch + n % blocks * 8; }, in_pitch,
        {.outer = count,
         .inner = s.position_steps(),
         .a_outer = at.token,
         .a_inner = 16 * at.pitch,
         .b_outer = at.token,
         .b_inner = 16 * in_pitch});
    constexpr int kColumns = std::remove_reference_t<decltype(tile)>::kColumns;
    const int o = tile.block[0] * 8 + simt::lane_id() / 4, row = inputs * at.K;
    float* const to = w + o * row;
    SIMT_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      if (!tile.there(k)) continue;
      const int tap = (tile.n + k) / blocks, c = (tile.n + k) % blocks * 8 + simt::lane_id() % 4 * 2;
      float* const column = to + c * at.K + tap;
      SIMT_UNROLL
      for (int i = 0; i < tile.kBlocks; ++i) {
        if (i >= tile.down || o + i * 8 >= at.Hs) continue;
        if (c < inputs) column[i * 8 * row] += tile.sum[i / 2][k][i % 2 * 2];
        if (c + 1 < inputs) column[i * 8 * row + at.K] += tile.sum[i / 2][k][i % 2 * 2 + 1];
      }
    }
  });
  add_column_sums(
      s.head_steps(), [&](int tile) { return s.line(0, d_out, 0, tile * 16); }, at.pitch, count,
      s.position_steps(), at.token, at.Hs, b);
}

__global__ void __launch_bounds__(kThreads, 1)
    sas_bwd_wide_kernel(SasBwd<bf16> a, SasWideLayout at, SasGradientLayout to, int tokens, int partition,
                        int count, Access by, bool dx_words) {
  const Block s(at);
  s.load_weights(a.w, count);
  const int begin = int(blockIdx.x) * partition, end = min(begin + partition, tokens);
  float* const sums = a.partial.data + blockIdx.x * to.size;
  for (int i = int(threadIdx.x); i < int(to.size); i += kThreads) sums[i] = 0;
  for (int first = begin; first < end; first += count) {
    s.load_lines(at.x, at.x_pitch, a.x, {}, first, count, end, by.x_words);
    if (!at.projections)
      s.load_lines(at.z2, at.pitch, a.dy, a.rope, first, count, end, by.y_words);
    else if (by.y_vectors)
      load_rows(s, a, first, count, end);
    else
      load_rows_singly(s, a, first, count, end);
    simt::block_sync();
    s.relu_z1(count);
    simt::block_sync();
    if (at.projections) {
      s.z2(count);
      simt::block_sync();
      projections_bwd(s, count, sums, to);
      simt::block_sync();
    }
    compute_dz1(s, count);
    add_conv(s, at.z2, at.r1, at.pitch, at.Hs, count, sums + to.conv2_w, sums + to.conv2_b);
    simt::block_sync();
    store_dx(s, a, first, count, end, dx_words);
    add_conv(s, at.dy, at.x, at.x_pitch, at.H, count, sums + to.conv1_w, sums + to.conv1_b);
    simt::block_sync();  // these tokens have been read
  }
}

}  // namespace

void sas_bwd_wide(Stream stream, const SasBwd<bf16>& a) {
  const SasShape shape = sas_shape(a.x, a.dy, a.w);
  const SasWideLayout at(shape, true);
  const int count = at.tokens_within(simt::device_limits(stream).shared_bytes);
  simt::launch(sas_bwd_wide_kernel, sas_partitions(shape.tokens), kThreads, at.bytes(count), stream, a, at,
               SasGradientLayout(shape), int(shape.tokens), int(sas_partition_tokens(shape.tokens)), count,
               wide::access_of(a.x, a.dy, a.rope), wide::rows_of<2>(a.dx));
}

}  // namespace saslm::cuda
