// Products of a block over matrices in its shared memory whose sizes are those of run time: a warp takes
// units of up to 2 x 4 fragments (16 x 8 each), and gives each pair of neighbouring results to whoever asked.
#pragma once
#include "kernels/cuda/sas_plan.h"
#include "kernels/cuda/sas_tile.cuh"

namespace saslm::cuda::wide {

constexpr int kWarps = 8, kThreads = kWarps * kWarp;
constexpr int kDown = 2, kAcross = 4;  // fragments of a unit

struct Unit {
  float sum[kDown][kAcross][4] = {};
  int m, down;      // first tile of 16 rows, and how many
  int n[kAcross];   // tiles of 8 columns
  unsigned across;  // a bit for each that is there
};

// k goes `outer` times over `inner` steps of 16; what lies between them in a and in b. At step `half` of the
// inner ones the upper 8 rows of a transposed b are not there: a has zeros for them.
struct Steps {
  int outer = 1, inner = 1, a_outer = 0, a_inner = 0, b_outer = 0, b_inner = 0, half = -1;
};

// u.sum += a b. A fragment of a is stored [m][k], or [k][m] (kA), from a(tile) on; of b [n][k], or [k][n]
// (kB), from b(tile) on.
template <bool kA, bool kB, class A, class B>
__device__ __forceinline__ void add(Unit& u, A a, int a_pitch, B b, int b_pitch, const Steps& steps) {
  const int lane = simt::lane_id();
  const int in_a =
      kA ? lane / 8 % 2 * 8 + (lane / 16 * 8 + lane % 8) * a_pitch : lane % 16 * a_pitch + lane / 16 * 8;
  const int in_b = lane % 8 * b_pitch + (kB ? 0 : lane / 8 % 2 * 8),
            upper = kB ? lane / 8 % 2 * 8 * b_pitch : 0;
  const bf16 *from_a[kDown], *from_b[kAcross];
  SIMT_UNROLL
  for (int m = 0; m < kDown; ++m) from_a[m] = a(m < u.down ? u.m + m : u.m) + in_a;
  SIMT_UNROLL
  for (int n = 0; n < kAcross; ++n) from_b[n] = b((u.across >> n & 1) != 0 ? u.n[n] : u.n[0]) + in_b;
  SIMT_ROLLED
  for (int o = 0; o < steps.outer; ++o) {
    int at_a = o * steps.a_outer, at_b = o * steps.b_outer;
    SIMT_ROLLED
    for (int i = 0; i < steps.inner; ++i, at_a += steps.a_inner, at_b += steps.b_inner) {
      uint32_t fa[kDown][4];
      SIMT_UNROLL
      for (int m = 0; m < kDown; ++m)
        if (m < u.down) {
          if constexpr (kA)
            simt::ldmatrix_x4_trans(fa[m], from_a[m] + at_a);
          else
            simt::ldmatrix_x4(fa[m], from_a[m] + at_a);
        }
      const int of_b = at_b + (i == steps.half ? 0 : upper);
      SIMT_UNROLL
      for (int n = 0; n < kAcross; ++n) {
        if ((u.across >> n & 1) == 0) continue;
        uint32_t fb[2];
        if constexpr (kB)
          simt::ldmatrix_x2_trans(fb, from_b[n] + of_b);
        else
          simt::ldmatrix_x2(fb, from_b[n] + of_b);
        SIMT_UNROLL
        for (int m = 0; m < kDown; ++m)
          if (m < u.down) simt::mma_m16n8k16(u.sum[m][n], fa[m], fb[0], fb[1]);
      }
    }
  }
}

// f(unit) for every unit of so many tiles, dealt to the warps: the same always to the same.
template <class F>
__device__ __forceinline__ void each_unit(int m_tiles, int n_tiles, F f) {
  const int across = int(ceil_div(n_tiles, kAcross)), units = int(ceil_div(m_tiles, kDown)) * across;
  SIMT_ROLLED
  for (int i = simt::warp_id(); i < units; i += kWarps) {
    Unit u;
    u.m = i / across * kDown, u.down = min(kDown, m_tiles - u.m);
    const int n = i % across * kAcross;
    SIMT_UNROLL
    for (int k = 0; k < kAcross; ++k) u.n[k] = n + k;
    u.across = (1u << min(kAcross, n_tiles - n)) - 1;
    f(u);
  }
}
// The same where tile n and tile n + n_tiles, which rope turns together, are to be in one unit: two of each.
template <class F>
__device__ __forceinline__ void each_unit_of_halves(int m_tiles, int n_tiles, F f) {
  const int across = int(ceil_div(n_tiles, 2)), units = int(ceil_div(m_tiles, kDown)) * across;
  SIMT_ROLLED
  for (int i = simt::warp_id(); i < units; i += kWarps) {
    Unit u;
    u.m = i / across * kDown, u.down = min(kDown, m_tiles - u.m);
    const int n = i % across * 2;
    SIMT_UNROLL
    for (int k = 0; k < kAcross; ++k) u.n[k] = n + k % 2 + k / 2 * n_tiles;
    u.across = n + 1 < n_tiles ? 15 : 5;
    f(u);
  }
}

// give(tile of rows, row in it, tile of columns, column in it, and two results: this column and the next).
template <class Give>
__device__ __forceinline__ void each_result(const Unit& u, Give give) {
  const int row = simt::lane_id() / 4, column = simt::lane_id() % 4 * 2;
  SIMT_UNROLL
  for (int m = 0; m < kDown; ++m) SIMT_UNROLL
  for (int n = 0; n < kAcross; ++n) {
    if (m >= u.down || (u.across >> n & 1) == 0) continue;
    give(u.m + m, row, u.n[n], column, u.sum[m][n][0], u.sum[m][n][1]);
    give(u.m + m, row + 8, u.n[n], column, u.sum[m][n][2], u.sum[m][n][3]);
  }
}

// What a block has in shared memory: weights, biases, then its tokens.
struct Block {
  const SasWideLayout& at;
  bf16* weights;
  float* biases;  // conv1, conv2, proj1, proj2
  bf16* tokens;

  __device__ __forceinline__ explicit Block(const SasWideLayout& layout)
      : at(layout),
        weights(simt::dyn_smem<bf16>()),
        biases(reinterpret_cast<float*>(weights + layout.weights)),
        tokens(reinterpret_cast<bf16*>(biases + layout.biases())) {}
  __device__ __forceinline__ float conv1_b(int o) const { return biases[o]; }
  __device__ __forceinline__ float conv2_b(int o) const { return biases[at.mid + o]; }
  __device__ __forceinline__ float proj1_b(int e) const { return biases[2 * at.mid + e]; }
  __device__ __forceinline__ float proj2_b(int e) const { return biases[2 * at.mid + at.E + e]; }
  __device__ __forceinline__ int position_tiles() const { return at.positions / 16; }
  __device__ __forceinline__ int head_tiles() const { return at.mid / 16; }
  // The pair of channels `c` of position `p` of a token's lines.
  __device__ __forceinline__ bf16* line(int token, int lines, int p, int c) const {
    return tokens + token * at.token + lines + (p + at.halo) * at.pitch + c;
  }

  __device__ __forceinline__ void load_weights(const SasParams<const bf16>& w, int tokens_at_once) const {
    fill_zeros(weights, at.weights + 2 * at.biases() + tokens_at_once * at.token, int(threadIdx.x), kThreads);
    simt::block_sync();
    load_conv(weights + at.conv1, at.conv1_pitch, w.conv1_w, at.H, at.in);
    load_conv(weights + at.conv2, at.conv2_pitch, w.conv2_w, at.Hs, at.mid);
    load_bias(biases, w.conv1_b, at.mid);
    load_bias(biases + at.mid, w.conv2_b, at.mid);
    if (at.projections) {
      load_linear(weights + at.proj1, at.proj1_pitch, w.proj1_w);
      load_linear(weights + at.proj2, at.row_pitch, w.proj2_w);
      load_bias(biases + 2 * at.mid, w.proj1_b, at.E);
      load_bias(biases + 2 * at.mid + at.E, w.proj2_b, at.E);
    }
    simt::block_sync();
  }
  // w[o][i*K + j] to [o][(j, i)].
  __device__ __forceinline__ void load_conv(bf16* to, int to_pitch, const Mat<const bf16>& w, int inputs,
                                            int channels) const {
    for (int i = int(threadIdx.x); i < int(w.rows) * inputs * at.K; i += kThreads) {
      const int o = i / (inputs * at.K), rest = i % (inputs * at.K);
      to[o * to_pitch + rest % at.K * channels + rest / at.K] = w[o][rest];
    }
  }
  __device__ __forceinline__ void load_linear(bf16* to, int to_pitch, const Mat<const bf16>& w) const {
    for (int i = int(threadIdx.x); i < int(w.rows * w.cols); i += kThreads)
      to[i / int(w.cols) * to_pitch + i % int(w.cols)] = w[i / int(w.cols)][i % int(w.cols)];
  }

  // Heads of x, or of dy where nothing follows the convolutions, to lines; zeros for tokens that are not
  // there.
  __device__ __forceinline__ void load_lines(int lines, int line_pitch, const Heads<const bf16>& from,
                                             const RopeTable<const bf16>& rope, int first, int count,
                                             int end) const {
    const int heads = int(from.H), half = rope.cos ? int(from.D) / 2 : int(from.D);
    for (int row = simt::warp_id(); row < count * heads; row += kWarps) {
      const int t = row / heads, h = row % heads, token = first + t;
      const int b = token / int(from.T), position = token % int(from.T);
      bf16* const to = tokens + t * at.token + lines + at.halo * line_pitch + h;
      const bf16* const source = token < end ? from.at(b, position, h) : nullptr;
      for (int d = simt::lane_id(); d < half; d += kWarp) {
        const bf16 low = source ? source[d] : bf16(0.0f);
        if (!rope.cos) {
          to[d * line_pitch] = low;
          continue;
        }
        const float2 turned = turn_back(source, rope, position, d, half);
        to[d * line_pitch] = bf16(turned.x), to[(d + half) * line_pitch] = bf16(turned.y);
      }
    }
  }
  // Features d and d + half of a row of dy, turned back.
  static __device__ __forceinline__ float2 turn_back(const bf16* row, const RopeTable<const bf16>& rope,
                                                     int position, int d, int half) {
    if (!row) return {0, 0};
    const float low = float(row[d]), high = float(row[d + half]);
    const float c = float(rope.cos[position][d]), s = float(rope.sin[position][d]);
    return {low * c + high * s, high * c - low * s};
  }

  // u.sum += the convolution of lines, at `tile` of all tokens' positions.
  __device__ __forceinline__ void convolve(Unit& u, int lines, int line_pitch, const bf16* w, int w_pitch,
                                           int channels) const {
    const int tiles = position_tiles();
    add<false, false>(
        u, [&](int m) { return tokens + m / tiles * at.token + lines + m % tiles * 16 * line_pitch; },
        line_pitch, [&](int n) { return w + n * 8 * w_pitch; }, w_pitch,
        {.outer = at.K,
         .inner = channels / 16,
         .a_outer = line_pitch,
         .a_inner = 16,
         .b_outer = channels,
         .b_inner = 16});
  }
  __device__ __forceinline__ void conv1(Unit& u) const {
    convolve(u, at.x, at.x_pitch, weights + at.conv1, at.conv1_pitch, at.in);
  }
  // relu(Z1) of all tokens; zeros behind the last position, where conv2 finds its padding.
  __device__ __forceinline__ void relu_z1(int count) const {
    const int tiles = position_tiles();
    each_unit(count * tiles, at.outputs / 8, [&](Unit& u) {
      conv1(u);
      each_result(u, [&](int m, int row, int n, int column, float x, float y) {
        const int o = n * 8 + column, p = m % tiles * 16 + row;
        const bool there = p < at.D;
        simt::stv(line(m / tiles, at.r1, p, o), simt::pack_bf16(there ? relu(x + conv1_b(o)) : 0.0f,
                                                                there ? relu(y + conv1_b(o + 1)) : 0.0f));
      });
    });
  }
  // Z2 = Z1 + conv2(relu(Z1)). Z1 is computed once more: it is a quarter of conv2, and is nowhere rounded.
  __device__ __forceinline__ void z2(int count) const {
    const int tiles = position_tiles();
    each_unit(count * tiles, at.outputs / 8, [&](Unit& u) {
      conv1(u);
      convolve(u, at.r1, at.pitch, weights + at.conv2, at.conv2_pitch, at.mid);
      each_result(u, [&](int m, int row, int n, int column, float x, float y) {
        const int o = n * 8 + column;
        simt::stv(line(m / tiles, at.z2, m % tiles * 16 + row, o),
                  simt::pack_bf16(x + conv1_b(o) + conv2_b(o), y + conv1_b(o + 1) + conv2_b(o + 1)));
      });
    });
  }
  // u.sum += Z2 proj1^T; rows are heads.
  __device__ __forceinline__ void proj1(Unit& u) const {
    const int tiles = head_tiles();
    add<true, false>(
        u, [&](int m) { return line(m / tiles, at.z2, 0, m % tiles * 16); }, at.pitch,
        [&](int n) { return weights + at.proj1 + n * 8 * at.proj1_pitch; }, at.proj1_pitch,
        {.inner = position_tiles(), .a_inner = 16 * at.pitch, .b_inner = 16});
  }
  __device__ __forceinline__ bf16* row(int token, int rows, int head) const {
    return tokens + token * at.token + rows + head * at.row_pitch;
  }
  __device__ __forceinline__ void relu_z3(int count) const {
    const int tiles = head_tiles();
    each_unit(count * tiles, at.E / 8, [&](Unit& u) {
      proj1(u);
      each_result(u, [&](int m, int r, int n, int column, float x, float y) {
        const int e = n * 8 + column;
        simt::stv(row(m / tiles, at.r3, m % tiles * 16 + r) + e,
                  simt::pack_bf16(relu(x + proj1_b(e)), relu(y + proj1_b(e + 1))));
      });
    });
  }
};

}  // namespace saslm::cuda::wide
