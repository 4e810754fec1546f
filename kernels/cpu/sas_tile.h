// A group of tokens passing through the SAS simulation without leaving the cache: its layout, and the
// stages that forward and backward share. Contract: kernels/sas.h.
//
// Lines (x, Z1, Z2, their gradients) lie as [channel][token][pitch]. The D features of a line are followed
// by a gap of at least (K-1)/2 zeros, which ends this line and begins the next. So one product over the
// group convolves all its lines at once, and no lane of a vector idles on the padding of a line:
//
//      0 0 | x x x x x x | 0 0 | x x x x x x | 0 0 | ...       D = 6, K = 5
//    margin   c0, t0       gap   c0, t1        gap                       and a margin behind the last gap
//
// A convolution leaves noise in the gaps: clear_gaps before another one reads them.
// Rows (Z3, its gradient) lie as [channel][token][width], width = E rounded up to whole vectors; only those
// of a few channels exist at a time, so that they stay in the first cache.
#pragma once
#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/cpu/sas_partitions.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile_gemm.h"

namespace saslm::cpu {

template <class T>
struct SasTile {
  SasShape s;
  int64_t first, n;  // tokens first .. first+n-1
  int64_t halo;      // (K-1)/2
  int64_t pitch;     // from line to line: holds gap and whole vectors, and makes `channel` whole vectors
  int64_t channel;   // from one channel's lines to the next's
  int64_t width;     // from row to row
  int64_t chunk;     // channels whose rows exist at a time

  SasTile(const SasShape& shape, int64_t first_token, int64_t end_token)
      : s(shape),
        first(first_token),
        n(std::min(kSasGroup, end_token - first_token)),
        halo(s.convs ? (s.K - 1) / 2 : 0),
        pitch(round_up(std::max(s.D + halo, round_up(s.D, kLanes<T>)), kLanes<T> / std::gcd(n, kLanes<T>))),
        channel(n * pitch),
        width(round_up(s.E, kLanes<T>)),
        chunk(std::max<int64_t>(1, kSasRows / n)) {}

  int64_t margin() const { return round_up(halo, kLanes<T>); }
  int64_t lines_size(int64_t channels) const { return channels * channel + 2 * margin(); }
  int64_t rows_size() const { return chunk * n * width; }

  void clear_gaps(T* lines, int64_t channels) const {
    for (int64_t i = 0; i < channels * n; ++i)
      std::fill(lines + i * pitch + s.D, lines + (i + 1) * pitch, T(0));
  }
};

// A thread's scratch, allocated piece by piece.
template <class T>
class SasPieces {
 public:
  SasPieces(const SasTile<T>& tile, int64_t size) : tile_(tile), next_(thread_scratch<T, SasPieces>(size)) {}

  T* rows() { return take(tile_.rows_size()); }
  T* lines(int64_t channels) {
    const int64_t margin = tile_.margin(), size = tile_.lines_size(channels);
    T* const all = take(size);
    std::fill_n(all, margin, T(0));
    std::fill_n(all + size - margin, margin, T(0));
    return all + margin;
  }

 private:
  T* take(int64_t size) { return std::exchange(next_, next_ + size); }

  const SasTile<T>& tile_;
  T* next_;
};

// A linear's weights in rows of whole vectors, followed by its bias.
template <class T>
struct SasLinear {
  const T* w = nullptr;
  const T* b = nullptr;
};

// As [inputs][width]: a vector holds what one input gives to several outputs.
template <class T>
SasLinear<T> sas_pack_transposed(T* to, const Mat<const T>& w, const Vec<const T>& b, int64_t width) {
  T* const bias = to + w.cols * width;
  for (int64_t i = 0; i < w.cols; ++i) {
    for (int64_t o = 0; o < w.rows; ++o) to[i * width + o] = w[o][i];
    std::fill(to + i * width + w.rows, to + (i + 1) * width, T(0));
  }
  std::fill(std::copy_n(b.data, b.size, bias), bias + width, T(0));
  return {to, bias};
}

// out = in turned by the angle of one position (sign 1) or back (sign -1).
template <class T>
inline void sas_turn(const RopeTable<const T>& rope, int64_t position, T sign, const T* in, T* out) {
  const int64_t half = rope.cos.cols;
  const T* const cos = rope.cos[position];
  const T* const sin = rope.sin[position];
  int64_t i = 0;
  for (; i + kLanes<T> <= half; i += kLanes<T>) {
    const Simd<T> low = load(in + i), high = load(in + i + half), c = load(cos + i), s = sign * load(sin + i);
    store(out + i, low * c - high * s);
    store(out + i + half, low * s + high * c);
  }
  for (; i < half; ++i) {
    const T low = in[i], high = in[i + half], c = cos[i], s = sign * sin[i];
    out[i] = low * c - high * s;
    out[i + half] = low * s + high * c;
  }
}

// Channels first .. first+count-1, or as many of them as there are.
template <class X>
Heads<X> sas_channels(Heads<X> heads, int64_t first, int64_t count) {
  heads.data += first * heads.h_stride;
  heads.H = std::min(count, heads.H - first);
  return heads;
}

// The group's features into lines or rows `stride` apart, zeros behind them; turned back if there is a rope.
template <class T>
void sas_load(const SasTile<T>& tile, const Heads<const T>& from, T* to, int64_t stride,
              const RopeTable<const T>& rope = {}) {
  for (int64_t t = 0; t < tile.n; ++t) {
    const int64_t b = (tile.first + t) / from.T, position = (tile.first + t) % from.T;
    for (int64_t c = 0; c < from.H; ++c) {
      T* const line = to + (c * tile.n + t) * stride;
      if (rope)
        sas_turn(rope, position, T(-1), from.at(b, position, c), line);
      else
        std::copy_n(from.at(b, position, c), from.D, line);
      std::fill(line + from.D, line + stride, T(0));
    }
  }
}

// Lines or rows back to the group's features, turned if there is a rope.
template <class T>
void sas_store(const SasTile<T>& tile, const T* from, int64_t stride, const Heads<T>& to,
               const RopeTable<const T>& rope = {}, int64_t start = 0) {
  for (int64_t t = 0; t < tile.n; ++t) {
    const int64_t b = (tile.first + t) / to.T, position = (tile.first + t) % to.T;
    for (int64_t c = 0; c < to.H; ++c) {
      const T* const line = from + (c * tile.n + t) * stride;
      if (rope)
        sas_turn(rope, start + position, T(1), line, to.at(b, position, c));
      else
        std::copy_n(line, to.D, to.at(b, position, c));
    }
  }
}

// out (= | +=) conv(in), channel by channel; noise in the gaps of out.
template <class T>
void sas_convolve(const SasTile<T>& tile, const Mat<const T>& w, const T* in, T* out, bool accumulate) {
  const int64_t K = tile.s.K;
  tile_gemm<T>({.M = w.rows,
                .N = tile.channel,
                .outer = w.cols / K,
                .inner = K,
                .a = w.data,
                .a_m = w.stride,
                .a_outer = K,
                .a_inner = 1,
                .b = in - tile.halo,
                .b_outer = tile.channel,
                .b_inner = 1,
                .c = out,
                .c_m = tile.channel,
                .accumulate = accumulate});
}

// r = relu(Z1), and z = Z1 + conv2's bias, ready for conv2(r) to be added: the residual costs nothing.
template <class T>
void sas_conv1(const SasTile<T>& tile, const SasParams<const T>& w, const T* x, T* z, T* r) {
  constexpr int64_t kChannels = 6;  // few enough to be still in the first cache for relu
  for (int64_t first = 0; first < tile.s.Hs; first += kChannels) {
    const int64_t end = std::min(first + kChannels, tile.s.Hs);
    sas_convolve(tile, w.conv1_w.row_range(first, end - first), x, z + first * tile.channel, false);
    for (int64_t c = first; c < end; ++c) {
      const Simd<T> bias1 = splat(w.conv1_b[c]), bias2 = splat(w.conv2_b[c]);
      for (int64_t i = c * tile.channel; i < (c + 1) * tile.channel; i += kLanes<T>) {
        const Simd<T> z1 = load(z + i) + bias1;
        store(r + i, max<T>(Simd<T>{}, z1));  // in this order a NaN stays one
        store(z + i, z1 + bias2);
      }
    }
  }
  tile.clear_gaps(r, tile.s.Hs);
}

// out (= | +=) in w, for `rows` rows of a linear's inputs.
template <class T>
void sas_linear(int64_t rows, const T* in, int64_t in_stride, int64_t inputs, const T* w, int64_t w_width,
                T* out, int64_t out_stride, bool accumulate = false) {
  tile_gemm<T>({.M = rows,
                .N = w_width,
                .outer = 1,
                .inner = inputs,
                .a = in,
                .a_m = in_stride,
                .a_inner = 1,
                .b = w,
                .b_inner = w_width,
                .c = out,
                .c_m = out_stride,
                .accumulate = accumulate});
}

// r = relu(Z3), and z3 = Z3 + proj2's bias, ready for proj2(r) to be added.
template <class T>
void sas_proj1(const SasTile<T>& tile, int64_t rows, const SasLinear<T>& proj1, const T* bias2, const T* z2,
               T* z3, T* r) {
  sas_linear(rows, z2, tile.pitch, tile.s.D, proj1.w, tile.width, z3, tile.width);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t e = 0; e < tile.width; e += kLanes<T>) {
      const int64_t i = row * tile.width + e;
      const Simd<T> sum = load(z3 + i) + load(proj1.b + e);
      store(r + i, max<T>(Simd<T>{}, sum));
      store(z3 + i, sum + load(bias2 + e));
    }
}

}  // namespace saslm::cpu
