// The parts that SAS' forward and backward on tensor cores share: weights and tokens in shared memory, the
// products over them, and how rows are loaded and stored. Contract: kernels/sas.h.
//
// Heads are channels. The lines of a token lie channels-last, [position][channel], between K/2 rows of
// zeros at either end: what a convolution reads for one position, K rows, is one span, so a convolution of
// all positions is one matrix product with overlapping rows:
//
//                 channels          pitch
//   row 0         0 0 0 .. 0   | gap |           zeros before position 0
//   row K/2       position 0   |     |
//         ..
//   row K/2 + D   0 0 0 .. 0   | gap |           zeros behind position D-1
//
// The pitch is an odd number of 16-byte chunks, so that the 8 rows an ldmatrix reads at a time fall into
// different banks. Channels that are not there, and taps that are not there (a shorter kernel), have zeros
// for weights. Rows (of y: a head of a token) lie [head][feature]; a row's fragments stay within a quad of
// lanes.
#pragma once
#include "core/dims.h"
#include "kernels/cuda/paths.h"
#include "kernels/cuda/sas_tiles.h"
#include "kernels/sas.h"
#include "kernels/simt/simt.h"

namespace saslm::cuda {

using simt::kWarp;

// What a kernel is compiled for: at most In and Mid channels and Taps taps, exactly D positions and E
// features; E = 0: no projections.
template <int In, int Mid, int D, int E, int Taps>
struct SasDims {
  static constexpr int kIn = In, kMid = Mid, kD = D, kE = E, kTaps = Taps;
  static constexpr int kHalo = Taps / 2;
  static constexpr int kRow = E > 0 ? E : D;  // features of a row of y
  static constexpr bool kProjections = E > 0;
  static_assert(In % 8 == 0 && (In % 16 == 0 || In == Mid) && Mid % 8 == 0 && D % 32 == 0 && E % 16 == 0);
  static_assert(Taps % 2 == 1);
};

// A product over the taps and channels of a convolution takes 16 of them a step. When the channels are whole
// steps, a step lies in one tap; else the pitch is the channels, so that a span has no gaps, and the last
// step may reach into what follows: its weights are zeros, and `kSlack` keeps it inside.
template <int Channels, int Pitch, int Taps>
struct ConvSpan {
  static constexpr bool kWhole = Channels % 16 == 0;
  static constexpr int kSteps = int(ceil_div(Channels * Taps, 16));
  static constexpr int kBlocks = Channels / 8 * Taps;  // of 8 channels of a tap; 2 a step
  static constexpr int kSlack = kWhole ? 0 : 8;
  static constexpr int kWeightPitch = kSteps * 16 + 8;
  static_assert(Pitch / 8 % 2 == 1 && (kWhole || Pitch == Channels));

  static constexpr __device__ int offset(int step) {
    return kWhole ? step / (Channels / 16) * Pitch + step % (Channels / 16) * 16 : step * 16;
  }
};

// The lines of one token.
template <class Dims, int Channels, int Pitch = line_pitch(Channels)>
struct SasLines {
  static constexpr int kChannels = Channels, kPitch = Pitch;
  using Span = ConvSpan<Channels, Pitch, Dims::kTaps>;
  static constexpr int kSize = (Dims::kD + 2 * Dims::kHalo) * Pitch + 8;
  static constexpr int kFirst = Dims::kHalo * Pitch;  // of position 0
};

// The weights of a block, in shared memory from beginning to end; biases in float.
template <class Dims, class InSpan, class MidSpan>
struct SasWeights {
  static constexpr int kPitch1 = Dims::kD + 8, kPitch2 = Dims::kE + 8;
  alignas(16) bf16 conv1[Dims::kMid * InSpan::kWeightPitch];
  alignas(16) bf16 conv2[Dims::kMid * MidSpan::kWeightPitch];
  alignas(16) bf16 proj1[Dims::kProjections ? Dims::kE * kPitch1 : 8];
  alignas(16) bf16 proj2[Dims::kProjections ? Dims::kE * kPitch2 : 8];
  alignas(16) float conv1_b[Dims::kMid], conv2_b[Dims::kMid];
  alignas(16) float proj1_b[Dims::kRow], proj2_b[Dims::kRow];
};

// w[o][i*K + j] to [o][(tap, channel)], the taps centred.
template <int Taps, int Channels, int Rows, int Pitch>
__device__ __forceinline__ void load_conv(bf16* to, const Mat<const bf16>& w, int K) {
  const int in = int(w.cols) / K, missing = (Taps - K) / 2;
  for (int i = int(threadIdx.x); i < Rows * Pitch; i += int(blockDim.x)) {
    const int o = i / Pitch, tap = i % Pitch / Channels - missing, channel = i % Pitch % Channels;
    const bool there = o < int(w.rows) && channel < in && tap >= 0 && tap < K;
    to[i] = there ? w[o][channel * K + tap] : bf16(0.0f);
  }
}

template <int Rows, int Cols>
__device__ __forceinline__ void load_linear(bf16* to, const Mat<const bf16>& w) {
  for (int i = int(threadIdx.x); i < Rows * Cols; i += int(blockDim.x))
    to[i / Cols * (Cols + 8) + i % Cols] = w[i / Cols][i % Cols];
}

__device__ __forceinline__ void load_bias(float* to, const Vec<const bf16>& b, int size) {
  for (int i = int(threadIdx.x); i < size; i += int(blockDim.x)) to[i] = i < int(b.size) ? float(b[i]) : 0.0f;
}

template <class Dims, class InSpan, class MidSpan>
__device__ __forceinline__ void load_weights(SasWeights<Dims, InSpan, MidSpan>& to,
                                             const SasParams<const bf16>& w) {
  const int K = int(w.kernel_size);
  load_conv<Dims::kTaps, Dims::kIn, Dims::kMid, InSpan::kWeightPitch>(to.conv1, w.conv1_w, K);
  load_conv<Dims::kTaps, Dims::kMid, Dims::kMid, MidSpan::kWeightPitch>(to.conv2, w.conv2_w, K);
  load_bias(to.conv1_b, w.conv1_b, Dims::kMid);
  load_bias(to.conv2_b, w.conv2_b, Dims::kMid);
  if constexpr (Dims::kProjections) {
    load_linear<Dims::kE, Dims::kD>(to.proj1, w.proj1_w);
    load_linear<Dims::kE, Dims::kE>(to.proj2, w.proj2_w);
    load_bias(to.proj1_b, w.proj1_b, Dims::kE);
    load_bias(to.proj2_b, w.proj2_b, Dims::kE);
  }
}

// Sums of a warp, float[M][N][4]: M x N tiles of 16 x 8. Lane 4g+t has rows g and g+8, columns 2t and 2t+1 of
// each. They have no name of their own: nvcc 12.0 ends in an internal error at an alias template for arrays.

template <int M, int N>
__device__ __forceinline__ void start_sums(float (&sum)[M][N][4], const float* column_bias, int lane) {
  SIMT_UNROLL
  for (int n = 0; n < N; ++n) {
    const float2 b = simt::ldv<float2>(column_bias + n * 8 + lane % 4 * 2);
    SIMT_UNROLL
    for (int m = 0; m < M; ++m) {
      sum[m][n][0] = sum[m][n][2] = b.x;
      sum[m][n][1] = sum[m][n][3] = b.y;
    }
  }
}

template <int M, int N>
__device__ __forceinline__ void add_bias(float (&sum)[M][N][4], const float* column_bias, int lane) {
  SIMT_UNROLL
  for (int n = 0; n < N; ++n) {
    const float2 b = simt::ldv<float2>(column_bias + n * 8 + lane % 4 * 2);
    SIMT_UNROLL
    for (int m = 0; m < M; ++m) {
      sum[m][n][0] += b.x, sum[m][n][1] += b.y;
      sum[m][n][2] += b.x, sum[m][n][3] += b.y;
    }
  }
}

__device__ __forceinline__ float relu(float x) {
  return x < 0 ? 0.0f : x;  // a NaN stays one
}

// Fragments of b, 16 x 8N; low and high are where the first and the second 8 of its 16 k are.
template <int N>
struct Columns {
  uint32_t r[(N + 1) / 2][4];

  __device__ __forceinline__ uint32_t low(int n) const { return r[n / 2][n % 2 * 2]; }
  __device__ __forceinline__ uint32_t high(int n) const { return r[n / 2][n % 2 * 2 + 1]; }

  // Stored [n][k].
  __device__ __forceinline__ void load(const bf16* low, const bf16* high, int pitch, int lane) {
    const bf16* const half = (lane / 8 % 2 == 0 ? low : high) + lane % 8 * pitch;
    SIMT_UNROLL
    for (int n = 0; n + 1 < N; n += 2) simt::ldmatrix_x4(r[n / 2], half + (n + lane / 16) * 8 * pitch);
    if constexpr (N % 2 == 1) {
      uint32_t last[2];
      simt::ldmatrix_x2(last, half + (N - 1) * 8 * pitch);
      r[N / 2][0] = last[0], r[N / 2][1] = last[1];
    }
  }
  __device__ __forceinline__ void load(const bf16* first, int pitch, int lane) {
    load(first, first + 8, pitch, lane);
  }

  // Stored [k][n].
  __device__ __forceinline__ void load_transposed(const bf16* low, const bf16* high, int pitch, int lane) {
    const bf16* const row = (lane / 8 % 2 == 0 ? low : high) + lane % 8 * pitch;
    SIMT_UNROLL
    for (int n = 0; n + 1 < N; n += 2) simt::ldmatrix_x4_trans(r[n / 2], row + n * 8 + lane / 16 * 8);
    if constexpr (N % 2 == 1) {
      uint32_t last[2];
      simt::ldmatrix_x2_trans(last, row + (N - 1) * 8);
      r[N / 2][0] = last[0], r[N / 2][1] = last[1];
    }
  }
  __device__ __forceinline__ void load_transposed(const bf16* first, int pitch, int lane) {
    load_transposed(first, first + 8 * pitch, pitch, lane);
  }
};

// A fragment of a, 16 x 16, stored [m][k].
__device__ __forceinline__ void load_rows(uint32_t (&a)[4], const bf16* first, int pitch, int lane) {
  simt::ldmatrix_x4(a, first + lane % 16 * pitch + lane / 16 * 8);
}

// Stored [k][m]: k is 16 rows from `first` on, the two halves of m are at `low` and `high` in them.
__device__ __forceinline__ void load_rows_transposed(uint32_t (&a)[4], const bf16* low, const bf16* high,
                                                     int pitch, int lane) {
  simt::ldmatrix_x4_trans(a, (lane / 8 % 2 == 0 ? low : high) + (lane / 16 * 8 + lane % 8) * pitch);
}

template <int N>
__device__ __forceinline__ void multiply(float (*sum)[4], const uint32_t (&a)[4], const Columns<N>& b) {
  SIMT_UNROLL
  for (int n = 0; n < N; ++n) simt::mma_m16n8k16(sum[n], a, b.low(n), b.high(n));
}

// sum[positions of m tiles][Out channels] += conv(lines); `lines` is the row of the first position's first
// tap.
template <class Lines, int M, int N>
__device__ __forceinline__ void convolve(float (&sum)[M][N][4], const bf16* lines, const bf16* w, int lane) {
  using Span = typename Lines::Span;
  SIMT_UNROLL
  for (int step = 0; step < Span::kSteps; ++step) {
    Columns<N> b;
    b.load(w + step * 16, Span::kWeightPitch, lane);
    SIMT_UNROLL
    for (int m = 0; m < M; ++m) {
      uint32_t a[4];
      load_rows(a, lines + m * 16 * Lines::kPitch + Span::offset(step), Lines::kPitch, lane);
      multiply(sum[m], a, b);
    }
  }
}

// Sums of 16 rows as bf16.
template <bool Relu, int N>
__device__ __forceinline__ void store_tile(bf16* rows, int pitch, const float (&sum)[N][4], int lane) {
  bf16* const to = rows + lane / 4 * pitch + lane % 4 * 2;
  SIMT_UNROLL
  for (int n = 0; n < N; ++n) SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const float x = sum[n][2 * half], y = sum[n][2 * half + 1];
    simt::stv(to + half * 8 * pitch + n * 8,
              Relu ? simt::pack_bf16(relu(x), relu(y)) : simt::pack_bf16(x, y));
  }
}
template <bool Relu, int M, int N>
__device__ __forceinline__ void store_lines(bf16* lines, int pitch, const float (&sum)[M][N][4], int lane) {
  SIMT_UNROLL
  for (int m = 0; m < M; ++m) store_tile<Relu>(lines + m * 16 * pitch, pitch, sum[m], lane);
}

// [channel][position] to [position][channel]; `part` of `parts` warps.
template <int Channels, int D>
__device__ __forceinline__ void transpose(bf16* lines, int pitch, const bf16* rows, int row_pitch, int part,
                                          int parts, int lane) {
  for (int i = part; i < Channels / 8 * (D / 32); i += parts) {
    const int channel = i / (D / 32) * 8, position = i % (D / 32) * 32;
    uint32_t r[4];
    simt::ldmatrix_x4_trans(r, rows + (channel + lane % 8) * row_pitch + position + lane / 8 * 8);
    SIMT_UNROLL
    for (int k = 0; k < 4; ++k)
      simt::stv(lines + (position + k * 8 + lane / 4) * pitch + channel + lane % 4 * 2, r[k]);
  }
}

// Rows of one token from global memory, `part` of `parts` lanes; zeros when the token is not there.
template <int D>
__device__ __forceinline__ void load_token(bf16* to, int pitch, const Heads<const bf16>& from, int token,
                                           bool there, bool vectors, int part, int parts) {
  const bf16* const first = there ? from.at(token / int(from.T), token % int(from.T), 0) : from.data;
  for (int i = part; i < int(from.H) * (D / 8); i += parts) {
    const int h = i / (D / 8), d = i % (D / 8) * 8;
    const bf16* const source = there ? first + h * from.h_stride + d : first;
    bf16* const target = to + h * pitch + d;
    if (vectors) {
      simt::cp_async16(target, source, there);
    } else {
      SIMT_UNROLL
      for (int k = 0; k < 8; ++k) target[k] = there ? source[k] : bf16(0.0f);
    }
  }
}

__device__ __forceinline__ void fill_zeros(bf16* to, int size, int part, int parts) {
  for (int i = part * 2; i < size; i += parts * 2) simt::stv(to + i, uint32_t{0});
}

// Where a row of y goes, and where its token stands in the rope's table.
struct RowTarget {
  bf16* data;  // null: nowhere
  int64_t position;
};

// Of four lanes' four values each, lane t gets the four lanes' value t.
__device__ __forceinline__ void transpose_quad(uint32_t (&v)[4], int t) {
  SIMT_UNROLL
  for (int bit = 1; bit <= 2; bit *= 2) {
    const bool upper = (t & bit) != 0;
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      if ((i & bit) != 0) continue;
      const uint32_t got = simt::shuffle_xor(upper ? v[i] : v[i + bit], bit);
      (upper ? v[i] : v[i + bit]) = got;
    }
  }
}

// One row of N blocks of 8 features, of which lane t has features 2t and 2t+1: turned if there is a rope, and
// stored 16 bytes a lane where y's alignment allows.
template <int N>
__device__ __forceinline__ void store_row(float2 (&v)[N], const RowTarget& to,
                                          const RopeTable<const bf16>& rope, bool vectors, int lane) {
  const int t = lane % 4;
  if (rope.cos) {
    const bf16* const cos = rope.cos[to.position] + 2 * t;
    const bf16* const sin = rope.sin[to.position] + 2 * t;
    SIMT_UNROLL
    for (int n = 0; n < N / 2; ++n) {
      const float2 low = v[n], high = v[n + N / 2];
      const float c0 = float(cos[n * 8]), s0 = float(sin[n * 8]);
      const float c1 = float(cos[n * 8 + 1]), s1 = float(sin[n * 8 + 1]);
      v[n] = {low.x * c0 - high.x * s0, low.y * c1 - high.y * s1};
      v[n + N / 2] = {low.x * s0 + high.x * c0, low.y * s1 + high.y * c1};
    }
  }
  SIMT_UNROLL
  for (int n = 0; n < N; n += 4) {
    uint32_t r[4];
    SIMT_UNROLL
    for (int k = 0; k < 4; ++k) r[k] = n + k < N ? simt::pack_bf16(v[n + k].x, v[n + k].y) : 0;
    if (vectors && n + 4 <= N) {
      transpose_quad(r, t);
      if (to.data) simt::stv_global(to.data + (n + t) * 8, uint4{r[0], r[1], r[2], r[3]});
    } else if (to.data) {
      SIMT_UNROLL
      for (int k = 0; k < 4; ++k) {
        if (n + k >= N) continue;
        if (vectors) {
          simt::stv(to.data + (n + k) * 8 + 2 * t, r[k]);
          continue;
        }
        const float2 x = simt::unpack_bf16(r[k]);
        to.data[(n + k) * 8 + 2 * t] = bf16(x.x);
        to.data[(n + k) * 8 + 2 * t + 1] = bf16(x.y);
      }
    }
  }
}

// 16-byte accesses to every row.
template <class X>
bool vector_rows(const Heads<X>& x) {
  return reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && x.b_stride % 8 == 0 && x.t_stride % 8 == 0 &&
         x.h_stride % 8 == 0;
}

// run(SasDims) for size `size` of kSasSizes.
template <class Run>
void with_dims(int size, Run run) {
  const auto one = [&]<size_t I>() {
    constexpr SasSize z = kSasSizes[I];
    if (int(I) == size) run(SasDims<z.in, z.mid, z.d, z.e, z.taps>());
  };
  [&]<size_t... I>(std::index_sequence<I...>) {
    (one.template operator()<I>(), ...);
  }
  (std::make_index_sequence<kSasSizes.size()>());
}
template <class Dims>
constexpr SasSize size_of{Dims::kIn, Dims::kMid, Dims::kD, Dims::kE, Dims::kTaps};

}  // namespace saslm::cuda
