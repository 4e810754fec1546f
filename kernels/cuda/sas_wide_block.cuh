// A thread block of SAS' kernels for sizes known at run time: where its shared memory (SasWideLayout) has
// what, and the stages that forward and backward share.
//
//   load_weights   all weights and biases, once            load_lines   x, or dy, of the tokens at hand
//   relu_z1        relu(Z1) = relu(conv1(x))               z2           Z2 = Z1 + conv2(relu(Z1))
//   relu_z3        relu(Z3) = relu(Z2 W1^T + b1)
//
// `count` tokens are computed at a time, those from `first` on; tokens from `end` on are not there and are
// zeros. A barrier of the block belongs between any two stages.
#pragma once
#include "kernels/cuda/sas_wide.h"
#include "kernels/cuda/sas_wide_product.cuh"

namespace saslm::cuda::wide {

// Which rows in global memory can be read and written by words: two features, or a whole vector of eight.
struct Access {
  bool x_words, y_words, y_vectors, rope_words;
};

// Rows of two features, or of so many, can be read as one value.
template <int kFeatures, class X>
bool rows_of(const Heads<X>& x) {
  const auto whole = [](int64_t n) { return n % kFeatures == 0; };
  return reinterpret_cast<uintptr_t>(x.data) % (2 * kFeatures) == 0 && whole(x.D) && whole(x.b_stride) &&
         whole(x.t_stride) && whole(x.h_stride);
}
template <int kFeatures>
bool rows_of(const RopeTable<const bf16>& rope) {
  const auto one = [](const Mat<const bf16>& m) {
    return reinterpret_cast<uintptr_t>(m.data) % (2 * kFeatures) == 0 && m.stride % kFeatures == 0;
  };
  return !rope.cos || (one(rope.cos) && one(rope.sin));
}
template <class X, class Y>
Access access_of(const Heads<X>& x, const Heads<Y>& y, const RopeTable<const bf16>& rope) {
  return {.x_words = rows_of<2>(x),
          .y_words = rows_of<2>(y),
          .y_vectors = rows_of<8>(y) && rows_of<8>(rope),
          .rope_words = rows_of<2>(rope)};
}

// Tokens one after the other as (batch, position) of T positions.
struct TokenPlace {
  int b, position;

  __device__ __forceinline__ TokenPlace(int token, int T) : b(token / T), position(token % T) {}
};

struct Block {
  const SasWideLayout& at;
  bf16* weights;
  float* biases;  // conv1, conv1 + conv2, proj1, proj1 + proj2: each as it is added to sums
  bf16* tokens;

  __device__ __forceinline__ explicit Block(const SasWideLayout& layout)
      : at(layout),
        weights(simt::dyn_smem<bf16>()),
        biases(reinterpret_cast<float*>(weights + layout.weights)),
        tokens(reinterpret_cast<bf16*>(biases + layout.biases())) {}
  __device__ __forceinline__ const float* conv1_b() const { return biases; }
  __device__ __forceinline__ const float* both_conv_b() const { return biases + at.mid; }
  __device__ __forceinline__ const float* proj1_b() const { return biases + 2 * at.mid; }
  __device__ __forceinline__ const float* both_proj_b() const { return biases + 2 * at.mid + at.E; }
  __device__ __forceinline__ int position_blocks() const { return int(ceil_div(at.D, 8)); }
  __device__ __forceinline__ int head_blocks() const { return at.mid / 8; }
  __device__ __forceinline__ int position_steps() const { return at.positions / 16; }
  __device__ __forceinline__ int head_steps() const { return at.heads / 16; }
  // Channel c of position p of a token's lines.
  __device__ __forceinline__ bf16* line(int token, int lines, int p, int c) const {
    return tokens + token * at.token + lines + (p + at.halo) * at.pitch + c;
  }
  __device__ __forceinline__ bf16* row(int token, int rows, int head) const {
    return tokens + token * at.token + rows + head * at.row_pitch;
  }

  // A barrier must pass before they are read.
  __device__ __forceinline__ void load_weights(const SasParams<const bf16>& w, int tokens_at_once) const {
    fill_zeros(weights, at.weights + 2 * at.biases() + tokens_at_once * at.token, int(threadIdx.x), kThreads);
    simt::block_sync();
    load_conv(weights + at.conv1, at.conv1_pitch, w.conv1_w, at.H, at.in);
    load_conv(weights + at.conv2, at.conv2_pitch, w.conv2_w, at.Hs, at.mid);
    load_biases(biases, at.mid, w.conv1_b, w.conv2_b);
    if (at.projections) {
      load_linear(weights + at.proj1, at.proj1_pitch, w.proj1_w);
      load_linear(weights + at.proj2, at.row_pitch, w.proj2_w);
      load_biases(biases + 2 * at.mid, at.E, w.proj1_b, w.proj2_b);
    }
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
  __device__ __forceinline__ void load_biases(float* to, int size, const Vec<const bf16>& first,
                                              const Vec<const bf16>& second) const {
    for (int i = int(threadIdx.x); i < int(first.size); i += kThreads)
      to[i] = float(first[i]), to[size + i] = float(first[i]) + float(second[i]);
  }

  // Heads of x, or of dy where nothing follows the convolutions, to lines; zeros for tokens that are not
  // there.
  __device__ __forceinline__ void load_lines(int lines, int line_pitch, const Heads<const bf16>& from,
                                             const RopeTable<const bf16>& rope, int first, int count, int end,
                                             bool by_words) const {
    if (by_words && !rope.cos)
      load_lines_by_words(lines, line_pitch, from, first, count, end);
    else
      load_lines_singly(lines, line_pitch, from, rope, first, count, end);
  }
  // Two positions of two heads at a time.
  __device__ __forceinline__ void load_lines_by_words(int lines, int line_pitch,
                                                      const Heads<const bf16>& from, int first, int count,
                                                      int end) const {
    const int pairs = (int(from.H) + 1) / 2, heads = int(from.H);
    for (int row = simt::warp_id(); row < count * pairs; row += kWarps) {
      const int t = row / pairs, h = row % pairs * 2, token = first + t;
      const TokenPlace place(token, int(from.T));
      const bf16* const low = from.at(place.b, place.position, h);
      const bf16* const high = low + from.h_stride;
      const bool one = token < end, two = one && h + 1 < heads;
      bf16* const to = tokens + t * at.token + lines + at.halo * line_pitch + h;
      for (int d = simt::lane_id() * 2; d < at.D; d += kWarp * 2) {
        const uint32_t a = one ? simt::ldv<uint32_t>(low + d) : 0,
                       b = two ? simt::ldv<uint32_t>(high + d) : 0;
        bf16* const line = to + d * line_pitch;
        simt::stv(line, (a & 0xffff) | b << 16);
        simt::stv(line + line_pitch, a >> 16 | (b & 0xffff0000));
      }
    }
  }
  __device__ __forceinline__ void load_lines_singly(int lines, int line_pitch, const Heads<const bf16>& from,
                                                    const RopeTable<const bf16>& rope, int first, int count,
                                                    int end) const {
    const int heads = int(from.H), half = rope.cos ? int(from.D) / 2 : int(from.D);
    for (int row = simt::warp_id(); row < count * heads; row += kWarps) {
      const int t = row / heads, h = row % heads, token = first + t;
      const TokenPlace place(token, int(from.T));
      bf16* const to = tokens + t * at.token + lines + at.halo * line_pitch + h;
      const bf16* const source = token < end ? from.at(place.b, place.position, h) : nullptr;
      for (int d = simt::lane_id(); d < half; d += kWarp) {
        const bf16 low = source ? source[d] : bf16(0.0f);
        if (!rope.cos) {
          to[d * line_pitch] = low;
          continue;
        }
        const float2 turned = unrotate(source, rope, place.position, d, half);
        to[d * line_pitch] = bf16(turned.x), to[(d + half) * line_pitch] = bf16(turned.y);
      }
    }
  }
  // Features d and d + half of a row of dy, the rope taken back.
  static __device__ __forceinline__ float2 unrotate(const bf16* row, const RopeTable<const bf16>& rope,
                                                    int position, int d, int half) {
    if (!row) return {0, 0};
    const float low = float(row[d]), high = float(row[d + half]);
    const float c = float(rope.cos[position][d]), s = float(rope.sin[position][d]);
    return {low * c + high * s, high * c - low * s};
  }

  // tile.sum += the convolution of lines, at the warp tile's positions.
  template <class U>
  __device__ __forceinline__ void convolve(U& tile, int lines, int line_pitch, const bf16* w, int w_pitch,
                                           int channels) const {
    const Steps whole{.outer = at.K,
                      .inner = channels / 16,
                      .a_outer = line_pitch,
                      .a_inner = 16,
                      .b_outer = channels,
                      .b_inner = 16};
    const Steps span{.inner = int(ceil_div(at.K * channels, 16)), .a_inner = 16, .b_inner = 16};
    add<false, false>(
        tile, [&](int t, int block) { return tokens + t * at.token + lines + block * 8 * line_pitch; },
        line_pitch, [&](int n) { return w + n * 8 * w_pitch; }, w_pitch, channels % 16 == 0 ? whole : span);
  }
  template <class U>
  __device__ __forceinline__ void conv1(U& tile) const {
    convolve(tile, at.x, at.x_pitch, weights + at.conv1, at.conv1_pitch, at.in);
  }
  // relu(Z1) of all tokens; zeros behind the last position, where conv2 finds its padding.
  __device__ __forceinline__ void relu_z1(int count) const {
    struct To {
      bf16* data;
      bool there;
    };
    each_warp_tile(count, position_blocks(), at.mid / 8, [&](auto& tile) {
      tile.start(conv1_b());
      conv1(tile);
      const int column = tile.n * 8 + simt::lane_id() % 4 * 2;
      each_result(
          tile,
          [&](int t, int p) {
            return To{line(t, at.r1, p, column), p < at.D};
          },
          [&](const To& to, int c, float x, float y) {
            simt::stv(to.data + c, to.there ? simt::pack_relu_bf16(x, y) : 0);
          });
    });
  }
  // Z2 = Z1 + conv2(relu(Z1)). Z1 is computed once more: it is a quarter of conv2, and is nowhere rounded.
  __device__ __forceinline__ void z2(int count) const {
    each_warp_tile(count, position_blocks(), at.mid / 8, [&](auto& tile) {
      tile.start(both_conv_b());
      conv1(tile);
      convolve(tile, at.r1, at.pitch, weights + at.conv2, at.conv2_pitch, at.mid);
      const int column = tile.n * 8 + simt::lane_id() % 4 * 2;
      each_result(
          tile, [&](int t, int p) { return line(t, at.z2, p, column); },
          [&](bf16* to, int c, float x, float y) { simt::stv(to + c, simt::pack_bf16(x, y)); });
    });
  }
  // tile.sum += Z2 proj1^T; rows are heads.
  template <class U>
  __device__ __forceinline__ void proj1(U& tile) const {
    add<true, false>(
        tile, [&](int t, int block) { return line(t, at.z2, 0, block * 8); }, at.pitch,
        [&](int n) { return weights + at.proj1 + n * 8 * at.proj1_pitch; }, at.proj1_pitch,
        {.inner = position_steps(), .a_inner = 16 * at.pitch, .b_inner = 16});
  }
  __device__ __forceinline__ void relu_z3(int count) const {
    each_warp_tile(count, head_blocks(), at.E / 8, [&](auto& tile) {
      tile.start(proj1_b());
      proj1(tile);
      const int column = tile.n * 8 + simt::lane_id() % 4 * 2;
      each_result(
          tile, [&](int t, int h) { return row(t, at.r3, h) + column; },
          [&](bf16* to, int c, float x, float y) { simt::stv(to + c, simt::pack_relu_bf16(x, y)); });
    });
  }
};

}  // namespace saslm::cuda::wide
