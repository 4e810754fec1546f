// Contract: kernels/sas.h. Meaning: kernels/cpu/sas_fwd.cpp, sas_bwd.cpp.
//
// Any channels, positions, taps, and features in multiples of 16, on mma.sync: what no tile of sas_tile.cuh
// is compiled for, and what its card has no room for. All sizes are those of run time: a block holds all
// weights and up to 8 tokens in shared memory, and every stage is one product of all its tokens
// (sas_wide_block.cuh), with a barrier behind it. Z1 and Z3 are computed twice, so that no sum is rounded on
// its way.
//
// Backward sums a partition (sas_plan.h) in a.partial itself, in float, a group of tokens after the other: an
// element is always the same thread's, so that the order is fixed. That passes L2: 0.2 MB a group at 12/36
// heads, 64/96 features.
#include "kernels/cuda/sas_wide.h"
#include "kernels/cuda/sas_wide_block.cuh"

namespace saslm::cuda {
namespace {

using wide::Block;
using wide::each_result;
using wide::each_unit;
using wide::kThreads;
using wide::Unit;

// Where a head's row of y goes; null: nowhere.
__device__ __forceinline__ bf16* target(const SasFwd<bf16>& a, int token, int head) {
  const int T = int(a.y.T);
  return token < int(a.y.B) * T && head < int(a.y.H) ? a.y.at(token / T, token % T, head) : nullptr;
}

__device__ __forceinline__ void store_pair(bf16* to, const float (&x)[2], bool words) {
  if (words)
    simt::stv(to, simt::pack_bf16(x[0], x[1]));
  else
    to[0] = bf16(x[0]), to[1] = bf16(x[1]);
}

// y = rope(Z3 + relu(Z3) proj2^T + b) of a group's tokens.
__device__ __forceinline__ void project(const SasFwd<bf16>& a, const Block& s, int first, int count,
                                        bool words) {
  const SasWideLayout& at = s.at;
  const int tiles = s.head_tiles(), half = at.E / 2;
  wide::each_unit_of_halves(count * tiles, at.E / 16, [&](Unit& u) {
    s.proj1(u);
    wide::add<false, false>(
        u, [&](int m) { return s.row(m / tiles, at.r3, m % tiles * 16); }, at.row_pitch,
        [&](int n) { return s.weights + at.proj2 + n * 8 * at.row_pitch; }, at.row_pitch,
        {.inner = at.E / 16, .a_inner = 16, .b_inner = 16});
    SIMT_UNROLL
    for (int i = 0; i < wide::kDown * 4; ++i) {  // tiles of rows, pairs of tiles of columns, halves of a tile
      const int m = i / 4, n = i / 2 % 2, r = i % 2;
      if (m >= u.down || (u.across >> n & 1) == 0) continue;
      const int tile = u.m + m, token = first + tile / tiles, e = u.n[n] * 8 + simt::lane_id() % 4 * 2;
      bf16* const to = target(a, token, tile % tiles * 16 + r * 8 + simt::lane_id() / 4);
      if (!to) continue;
      float low[2], high[2];
      SIMT_UNROLL
      for (int c = 0; c < 2; ++c) {
        const float x = u.sum[m][n][2 * r + c] + s.proj1_b(e + c) + s.proj2_b(e + c);
        const float y = u.sum[m][n + 2][2 * r + c] + s.proj1_b(e + c + half) + s.proj2_b(e + c + half);
        float cos = 1, sin = 0;
        if (a.rope.cos) {
          const int64_t position = a.start + token % int(a.y.T);
          cos = float(a.rope.cos[position][e + c]), sin = float(a.rope.sin[position][e + c]);
        }
        low[c] = x * cos - y * sin, high[c] = x * sin + y * cos;
      }
      store_pair(to + e, low, words), store_pair(to + e + half, high, words);
    }
  });
}

// Without projections: y = rope(Z2).
__device__ __forceinline__ void store_heads(const SasFwd<bf16>& a, const Block& s, int first, int count) {
  const SasWideLayout& at = s.at;
  const int half = a.rope.cos ? at.D / 2 : at.D;
  for (int row = simt::warp_id(); row < count * at.Hs; row += wide::kWarps) {
    const int t = row / at.Hs, h = row % at.Hs, token = first + t;
    bf16* const to = target(a, token, h);
    if (!to) continue;
    for (int d = simt::lane_id(); d < half; d += kWarp) {
      const float low = float(*s.line(t, at.z2, d, h));
      if (!a.rope.cos) {
        to[d] = bf16(low);
        continue;
      }
      const float high = float(*s.line(t, at.z2, d + half, h));
      const int64_t position = a.start + token % int(a.y.T);
      const float c = float(a.rope.cos[position][d]), n = float(a.rope.sin[position][d]);
      to[d] = bf16(low * c - high * n), to[d + half] = bf16(low * n + high * c);
    }
  }
}

__global__ void __launch_bounds__(kThreads, 1)
    sas_fwd_wide_kernel(SasFwd<bf16> a, SasWideLayout at, int tokens, int count, bool words) {
  const Block s(at);
  s.load_weights(a.w, count);
  for (int first = int(blockIdx.x) * count; first < tokens; first += int(gridDim.x) * count) {
    s.load_lines(at.x, at.x_pitch, a.x, {}, first, count, tokens);
    simt::block_sync();
    s.relu_z1(count);
    simt::block_sync();
    s.z2(count);
    simt::block_sync();
    if (at.projections) {
      s.relu_z3(count);
      simt::block_sync();
      project(a, s, first, count, words);
    } else {
      store_heads(a, s, first, count);
    }
  }
}

// A partition's sums, of which the first group of tokens sets each.
struct Sums {
  float* data;
  bool set;

  __device__ __forceinline__ void add(int64_t i, float x) const { data[i] = set ? x : data[i] + x; }
};

// dy turned back, to rows; zeros for heads and tokens that are not there.
__device__ __forceinline__ void load_rows_of(const Block& s, const SasBwd<bf16>& a, int first, int count,
                                             int end) {
  const SasWideLayout& at = s.at;
  const int half = at.E / 2, T = int(a.dy.T);
  for (int row = simt::warp_id(); row < count * at.mid; row += wide::kWarps) {
    const int t = row / at.mid, h = row % at.mid, token = first + t, position = token % T;
    const bf16* const source = token < end && h < at.Hs ? a.dy.at(token / T, position, h) : nullptr;
    bf16* const to = s.row(t, at.dy, h);
    for (int e = simt::lane_id(); e < half; e += kWarp) {
      if (a.rope.cos) {
        const float2 turned = Block::turn_back(source, a.rope, position, e, half);
        to[e] = bf16(turned.x), to[e + half] = bf16(turned.y);
      } else {
        to[e] = source ? source[e] : bf16(0.0f), to[e + half] = source ? source[e + half] : bf16(0.0f);
      }
    }
  }
}

// dW += d_out^T in over the rows of all tokens: d_out rows of E features; in(n) is where 8 inputs begin.
template <bool kTransposed, class In>
__device__ __forceinline__ void add_linear(const Block& s, int d_out, In in, int in_pitch, int in_step,
                                           int inputs, int count, const Sums& sums, int64_t w) {
  const SasWideLayout& at = s.at;
  each_unit(at.E / 16, int(ceil_div(inputs, 8)), [&](Unit& u) {
    wide::add<true, kTransposed>(u, [&](int m) { return s.row(0, d_out, 0) + m * 16; }, at.row_pitch, in,
                                 in_pitch,
                                 {.outer = count,
                                  .inner = s.head_tiles(),
                                  .a_outer = at.token,
                                  .a_inner = 16 * at.row_pitch,
                                  .b_outer = at.token,
                                  .b_inner = in_step});
    each_result(u, [&](int m, int row, int n, int column, float x, float y) {
      const int64_t i = w + int64_t(m * 16 + row) * inputs + n * 8 + column;
      if (n * 8 + column < inputs) sums.add(i, x);
      if (n * 8 + column + 1 < inputs) sums.add(i + 1, y);
    });
  });
}
// db += the sum of all tokens' rows.
__device__ __forceinline__ void add_rows(const Block& s, int rows, int count, const Sums& sums, int64_t b) {
  for (int e = int(threadIdx.x); e < s.at.E; e += kThreads) {
    float sum = 0;
    for (int t = 0; t < count; ++t)
      for (int h = 0; h < s.at.Hs; ++h) sum += float(s.row(t, rows, h)[e]);
    sums.add(b + e, sum);
  }
}

// From dy to dZ2 in Z2's place; the gradients of both projections.
__device__ __forceinline__ void projections_back(const Block& s, int count, const Sums& sums,
                                                 const SasSums& to) {
  const SasWideLayout& at = s.at;
  const int tiles = s.head_tiles(), positions = s.position_tiles();
  s.relu_z3(count);
  simt::block_sync();
  add_linear<true>(
      s, at.dy, [&](int n) { return s.row(0, at.r3, 0) + n * 8; }, at.row_pitch, 16 * at.row_pitch, at.E,
      count, sums, to.proj2_w);
  add_rows(s, at.dy, count, sums, to.proj2_b);
  simt::block_sync();
  each_unit(count * tiles, at.E / 8, [&](Unit& u) {  // dZ3 = dy + [Z3>0] (dy W2), in relu(Z3)'s place
    wide::add<false, true>(
        u, [&](int m) { return s.row(m / tiles, at.dy, m % tiles * 16); }, at.row_pitch,
        [&](int n) { return s.weights + at.proj2 + n * 8; }, at.row_pitch,
        {.inner = at.E / 16, .a_inner = 16, .b_inner = 16 * at.row_pitch});
    each_result(u, [&](int m, int r, int n, int column, float x, float y) {
      const int e = n * 8 + column;
      bf16* const z3 = s.row(m / tiles, at.r3, m % tiles * 16 + r) + e;
      const float2 dy =
          simt::unpack_bf16(simt::ldv<uint32_t>(s.row(m / tiles, at.dy, m % tiles * 16 + r) + e));
      const float2 z = simt::unpack_bf16(simt::ldv<uint32_t>(z3));
      simt::stv(z3, simt::pack_bf16(dy.x + (z.x > 0 ? x : 0.0f), dy.y + (z.y > 0 ? y : 0.0f)));
    });
  });
  simt::block_sync();
  add_linear<false>(
      s, at.r3, [&](int n) { return s.line(0, at.z2, n * 8, 0); }, at.pitch, 16, at.D, count, sums,
      to.proj1_w);
  add_rows(s, at.r3, count, sums, to.proj1_b);
  for (int t = 0; t < count; ++t)  // dy has been read; dZ1 takes its place
    fill_zeros(s.tokens + t * at.token + at.dy, at.lines(), int(threadIdx.x), kThreads);
  simt::block_sync();
  const int even = int(round_up(positions, wide::kDown));  // a unit is of one token
  each_unit(count * even, at.outputs / 8, [&](Unit& u) {   // dZ2 = dZ3 W1, transposed
    const int t = u.m / even;
    u.m %= even, u.down = min(wide::kDown, positions - u.m);
    wide::add<true, false>(
        u, [&](int m) { return s.weights + at.proj1 + m * 16; }, at.proj1_pitch,
        [&](int n) { return s.row(t, at.r3, n * 8); }, at.row_pitch,
        {.inner = at.E / 16, .a_inner = 16 * at.proj1_pitch, .b_inner = 16});
    each_result(u, [&](int m, int row, int n, int column, float x, float y) {
      simt::stv(s.line(t, at.z2, m * 16 + row, n * 8 + column), simt::pack_bf16(x, y));
    });
  });
}

// u.sum += the transpose of a convolution of d_out's lines: at channels n*8 of its inputs.
__device__ __forceinline__ void convolve_back(const Block& s, Unit& u, int d_out, const bf16* w, int w_pitch,
                                              int channels) {
  const SasWideLayout& at = s.at;
  const int tiles = s.position_tiles();
  wide::add<false, true>(
      u, [&](int m) { return s.tokens + m / tiles * at.token + d_out + m % tiles * 16 * at.pitch; }, at.pitch,
      [&](int n) { return w + (at.K - 1) * channels + n * 8; }, w_pitch,
      {.outer = at.K,
       .inner = at.mid / 16,
       .a_outer = at.pitch,
       .a_inner = 16,
       .b_outer = -channels,
       .b_inner = 16 * w_pitch,
       .half = at.outputs % 16 == 8 ? at.outputs / 16 : -1});
}

// dZ1 = dZ2 + [Z1>0] conv2^T(dZ2).
__device__ __forceinline__ void dz1(const Block& s, int count) {
  const SasWideLayout& at = s.at;
  const int tiles = s.position_tiles();
  each_unit(count * tiles, at.outputs / 8, [&](Unit& u) {
    convolve_back(s, u, at.z2, s.weights + at.conv2, at.conv2_pitch, at.mid);
    each_result(u, [&](int m, int row, int n, int column, float x, float y) {
      const int t = m / tiles, p = m % tiles * 16 + row, c = n * 8 + column;
      const float2 z1 = simt::unpack_bf16(simt::ldv<uint32_t>(s.line(t, at.r1, p, c)));
      const float2 dz2 = simt::unpack_bf16(simt::ldv<uint32_t>(s.line(t, at.z2, p, c)));
      simt::stv(s.line(t, at.dy, p, c),
                simt::pack_bf16(dz2.x + (z1.x > 0 ? x : 0.0f), dz2.y + (z1.y > 0 ? y : 0.0f)));
    });
  });
}

__device__ __forceinline__ void store_dx(const Block& s, const SasBwd<bf16>& a, int first, int count,
                                         int end) {
  const SasWideLayout& at = s.at;
  const int tiles = s.position_tiles(), T = int(a.dx.T);
  each_unit(count * tiles, int(ceil_div(at.H, 8)), [&](Unit& u) {
    convolve_back(s, u, at.dy, s.weights + at.conv1, at.conv1_pitch, at.in);
    each_result(u, [&](int m, int row, int n, int column, float x, float y) {
      const int token = first + m / tiles, p = m % tiles * 16 + row, h = n * 8 + column;
      if (token >= end || p >= at.D) return;
      if (h < at.H) a.dx.at(token / T, token % T, h)[p] = bf16(x);
      if (h + 1 < at.H) a.dx.at(token / T, token % T, h + 1)[p] = bf16(y);
    });
  });
}

// dW += d_out^T in, a tap's inputs after the other's; db += the sum of d_out over positions.
__device__ __forceinline__ void add_conv(const Block& s, int d_out, int in, int in_pitch, int inputs,
                                         int count, const Sums& sums, int64_t w, int64_t b) {
  const SasWideLayout& at = s.at;
  const int blocks = int(ceil_div(inputs, 8));
  each_unit(at.mid / 16, at.K * blocks, [&](Unit& u) {
    wide::add<true, true>(
        u, [&](int m) { return s.line(0, d_out, 0, m * 16); }, at.pitch,
        [&](int n) { return s.tokens + in + n / blocks * in_pitch + n % blocks * 8; }, in_pitch,
        {.outer = count,
         .inner = s.position_tiles(),
         .a_outer = at.token,
         .a_inner = 16 * at.pitch,
         .b_outer = at.token,
         .b_inner = 16 * in_pitch});
    each_result(u, [&](int m, int row, int n, int column, float x, float y) {
      const int o = m * 16 + row, c = n % blocks * 8 + column;
      if (o >= at.Hs) return;
      const int64_t i = w + (int64_t(o) * inputs + c) * at.K + n / blocks;
      if (c < inputs) sums.add(i, x);
      if (c + 1 < inputs) sums.add(i + at.K, y);
    });
  });
  for (int o = int(threadIdx.x); o < at.Hs; o += kThreads) {
    float sum = 0;
    for (int t = 0; t < count; ++t)
      for (int p = 0; p < at.D; ++p) sum += float(*s.line(t, d_out, p, o));
    sums.add(b + o, sum);
  }
}

__global__ void __launch_bounds__(kThreads, 1)
    sas_bwd_wide_kernel(SasBwd<bf16> a, SasWideLayout at, SasSums to, int tokens, int partition, int count) {
  const Block s(at);
  s.load_weights(a.w, count);
  const int begin = int(blockIdx.x) * partition, end = min(begin + partition, tokens);
  for (int first = begin; first < end; first += count) {
    const Sums sums{a.partial.data + blockIdx.x * to.size, first == begin};
    s.load_lines(at.x, at.x_pitch, a.x, {}, first, count, end);
    if (at.projections)
      load_rows_of(s, a, first, count, end);
    else
      s.load_lines(at.z2, at.pitch, a.dy, a.rope, first, count, end);
    simt::block_sync();
    s.relu_z1(count);
    simt::block_sync();
    if (at.projections) {
      s.z2(count);
      simt::block_sync();
      projections_back(s, count, sums, to);
      simt::block_sync();
    }
    dz1(s, count);
    add_conv(s, at.z2, at.r1, at.pitch, at.Hs, count, sums, to.conv2_w, to.conv2_b);
    simt::block_sync();
    store_dx(s, a, first, count, end);
    add_conv(s, at.dy, at.x, at.x_pitch, at.H, count, sums, to.conv1_w, to.conv1_b);
    simt::block_sync();  // the group has been read
  }
}

}  // namespace

void sas_fwd_wide(Stream stream, const SasFwd<bf16>& a) {
  const simt::DeviceLimits device = simt::device_limits(stream);
  const SasShape shape = sas_shape(a.x, a.y, a.w);
  const SasWideLayout at(shape, false);
  const bool words = reinterpret_cast<uintptr_t>(a.y.data) % 4 == 0 && a.y.b_stride % 2 == 0 &&
                     a.y.t_stride % 2 == 0 && a.y.h_stride % 2 == 0;
  const int count = at.tokens_within(device.shared_bytes);
  simt::launch(sas_fwd_wide_kernel, std::min<int64_t>(device.processors, ceil_div(shape.tokens, count)),
               kThreads, at.bytes(count), stream, a, at, int(shape.tokens), count, words);
}

void sas_bwd_wide(Stream stream, const SasBwd<bf16>& a) {
  const SasShape shape = sas_shape(a.x, a.dy, a.w);
  const SasWideLayout at(shape, true);
  const int count = at.tokens_within(simt::device_limits(stream).shared_bytes);
  simt::launch(sas_bwd_wide_kernel, sas_partitions(shape.tokens), kThreads, at.bytes(count), stream, a, at,
               SasSums(shape), int(shape.tokens), int(sas_partition_tokens(shape.tokens)), count);
}

}  // namespace saslm::cuda
