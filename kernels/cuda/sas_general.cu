// The SAS simulation for any sizes, bf16 and float, all arithmetic in float: what no tensor-core kernel
// takes, and verification. Contract: kernels/sas.h; equations: sas_fwd.cu, sas_bwd.cu.
//
// Grid     Forward: up to four persistent blocks a multiprocessor. Backward: a thread block a partition
//          (sas_partitions.h), which adds its sums up in a.partial.
// Block    256 threads, one token after the other. Every stage is one small product in which a thread has 4
//          x 4 results. Weights are read from the caches.
// Shared   SasGeneralLayout (sas_general.h), in float. Lines, [channel][pitch]: K/2 zeros, D features, K/2
//          zeros; the pitch is odd, so that neighbouring channels fall into different banks. Rows, [head][E
//          | 1]: of `chunk` heads at a time.
// Writes   y (=); dx (=), a.partial (=).
// Cost     Bound by shared memory and L2: some 20 times the time of the tensor-core kernels.
#include "kernels/cuda/sas_general.h"
#include "kernels/cuda/sas_partitions.h"
#include "kernels/shape_check.h"
#include "kernels/simt/simt.h"

namespace saslm::cuda {
namespace {

constexpr int kThreads = 256;

using Layout = SasGeneralLayout;

// As many heads' rows at a time as fit beside the lines. Bytes of both.
size_t fit(Layout& at, const char* op, bool backward, size_t limit) {
  const size_t lines = at.line_bytes(backward), row = at.row_bytes(backward);
  if (at.least_bytes(backward) > limit)
    ShapeCheck(op).fail("x and y", "leave a token's " + std::to_string(at.least_bytes(backward)) +
                                       " bytes within " + std::to_string(limit) +
                                       " of shared memory; take fewer or narrower heads");
  at.chunk = row == 0 ? at.Hs : int(std::min<size_t>(size_t(at.Hs), (limit - lines) / row));
  return lines + size_t(at.chunk) * row;
}

// give(m, n, sum over outer and inner of a(m, outer, inner) b(outer, inner, n)) for m < M, n < N. A thread
// always has the same (m, n).
template <class A, class B, class Give>
__device__ __forceinline__ void product(int M, int N, int outer, int inner, A a, B b, Give give) {
  constexpr int kSide = 4;
  const int m_step = (M + kSide - 1) / kSide, n_step = (N + kSide - 1) / kSide;
  for (int tile = int(threadIdx.x); tile < m_step * n_step; tile += kThreads) {
    int m[kSide], n[kSide];
    SIMT_UNROLL
    for (int k = 0; k < kSide; ++k) {
      m[k] = min(tile / n_step + k * m_step, M - 1);
      n[k] = min(tile % n_step + k * n_step, N - 1);
    }
    float sum[kSide][kSide] = {};
    for (int o = 0; o < outer; ++o)
      for (int i = 0; i < inner; ++i) {
        float left[kSide], right[kSide];
        SIMT_UNROLL
        for (int k = 0; k < kSide; ++k) left[k] = a(m[k], o, i), right[k] = b(o, i, n[k]);
        SIMT_UNROLL
        for (int k = 0; k < kSide * kSide; ++k)
          sum[k / kSide][k % kSide] += left[k / kSide] * right[k % kSide];
      }
    SIMT_UNROLL
    for (int k = 0; k < kSide * kSide; ++k) {
      const int row = tile / n_step + k / kSide * m_step, column = tile % n_step + k % kSide * n_step;
      if (row < M && column < N) give(row, column, sum[k / kSide][k % kSide]);
    }
  }
}

__device__ __forceinline__ float relu(float x) {
  return x < 0 ? 0.0f : x;  // a NaN stays one
}

template <class T>
struct Token {
  Layout at;
  int64_t batch, position;  // of the token in its sequence
  SasParams<const T> w;

  __device__ __forceinline__ float* line(float* lines, int channel) const {
    return lines + channel * at.pitch + at.halo;
  }

  // Lines or rows `pitch` apart from `count` heads in global memory.
  __device__ __forceinline__ void load(float* to, int pitch, const Heads<const T>& from, int first,
                                       int count) const {
    for (int i = int(threadIdx.x); i < count * int(from.D); i += kThreads) {
      const int h = i / int(from.D), d = i % int(from.D);
      to[h * pitch + d] = float(from.at(batch, position, first + h)[d]);
    }
  }
  // The same, turned back by the rope.
  __device__ __forceinline__ void load_turned(float* to, int pitch, const Heads<const T>& from, int first,
                                              int count, const RopeTable<const T>& rope) const {
    if (!rope.cos) return load(to, pitch, from, first, count);
    const int half = int(from.D) / 2;
    for (int i = int(threadIdx.x); i < count * half; i += kThreads) {
      const int h = i / half, d = i % half;
      const T* const source = from.at(batch, position, first + h) + d;
      const float low = float(source[0]), high = float(source[half]);
      const float c = float(rope.cos[position][d]), s = float(rope.sin[position][d]);
      to[h * pitch + d] = low * c + high * s;
      to[h * pitch + d + half] = high * c - low * s;
    }
  }
  __device__ __forceinline__ void store(const float* from, int pitch, const Heads<T>& to, int first,
                                        int count) const {
    for (int i = int(threadIdx.x); i < count * int(to.D); i += kThreads) {
      const int h = i / int(to.D), d = i % int(to.D);
      to.at(batch, position, first + h)[d] = T(from[h * pitch + d]);
    }
  }
  __device__ __forceinline__ void store_turned(const float* from, int pitch, const Heads<T>& to, int first,
                                               int count, const RopeTable<const T>& rope,
                                               int64_t start) const {
    if (!rope.cos) return store(from, pitch, to, first, count);
    const int half = int(to.D) / 2;
    for (int i = int(threadIdx.x); i < count * half; i += kThreads) {
      const int h = i / half, d = i % half;
      const float low = from[h * pitch + d], high = from[h * pitch + d + half];
      const float c = float(rope.cos[start + position][d]), s = float(rope.sin[start + position][d]);
      T* const target = to.at(batch, position, first + h) + d;
      target[0] = T(low * c - high * s);
      target[half] = T(low * s + high * c);
    }
  }

  // relu(Z1), and Z1 + conv2's bias in z2's place.
  __device__ __forceinline__ void conv1(float* x, float* relu_z1, float* z2) const {
    product(
        at.Hs, at.D, at.H, at.K, [&](int o, int i, int j) { return float(w.conv1_w[o][i * at.K + j]); },
        [&](int i, int j, int d) { return x[i * at.pitch + d + j]; },
        [&](int o, int d, float sum) {
          const float z1 = sum + float(w.conv1_b[o]);
          line(relu_z1, o)[d] = relu(z1);
          line(z2, o)[d] = z1 + float(w.conv2_b[o]);
        });
  }
  __device__ __forceinline__ void conv2(const float* relu_z1, float* z2) const {
    product(
        at.Hs, at.D, at.Hs, at.K, [&](int o, int i, int j) { return float(w.conv2_w[o][i * at.K + j]); },
        [&](int i, int j, int d) { return relu_z1[i * at.pitch + d + j]; },
        [&](int o, int d, float sum) { line(z2, o)[d] += sum; });
  }
  // relu(Z3) of `count` heads from `z2` on, and Z3 + proj2's bias.
  __device__ __forceinline__ void proj1(const float* z2, int count, float* relu_z3, float* z3) const {
    product(
        at.E, count, 1, at.D, [&](int e, int, int d) { return float(w.proj1_w[e][d]); },
        [&](int, int d, int h) { return z2[h * at.pitch + d]; },
        [&](int e, int h, float sum) {
          const float z = sum + float(w.proj1_b[e]);
          relu_z3[h * at.row_pitch + e] = relu(z);
          z3[h * at.row_pitch + e] = z + float(w.proj2_b[e]);
        });
  }
};

__device__ __forceinline__ void clear(float* shared, int size) {
  for (int i = int(threadIdx.x); i < size; i += kThreads) shared[i] = 0;
}

template <class T>
__global__ void __launch_bounds__(kThreads) sas_fwd_general_kernel(SasFwd<T> a, Layout at, int64_t tokens) {
  float* const x = simt::dyn_smem<float>();
  float* const relu_z1 = x + at.H * at.pitch;
  float* const z2_lines = at.convs ? relu_z1 + at.Hs * at.pitch : x;
  float* const rows = z2_lines + at.Hs * at.pitch;
  float* const relu_rows = rows + at.chunk * at.row_pitch;
  clear(x, int(rows - x));
  for (int64_t n = blockIdx.x; n < tokens; n += gridDim.x) {
    const Token<T> token{at, n / a.x.T, n % a.x.T, a.w};
    simt::block_sync();  // the token before has left
    token.load(token.line(x, 0), at.pitch, a.x, 0, at.H);
    simt::block_sync();
    if (at.convs) {
      token.conv1(x, relu_z1, z2_lines);
      simt::block_sync();
      token.conv2(relu_z1, z2_lines);
      simt::block_sync();
    }
    if (!at.projections) {
      token.store_turned(token.line(z2_lines, 0), at.pitch, a.y, 0, at.Hs, a.rope, a.start);
      continue;
    }
    for (int h = 0; h < at.Hs; h += at.chunk) {
      const int count = min(at.chunk, at.Hs - h);
      token.proj1(token.line(z2_lines, h), count, relu_rows, rows);
      simt::block_sync();
      product(
          at.E, count, 1, at.E, [&](int e, int, int k) { return float(a.w.proj2_w[e][k]); },
          [&](int, int k, int row) { return relu_rows[row * at.row_pitch + k]; },
          [&](int e, int row, float sum) { rows[row * at.row_pitch + e] += sum; });
      simt::block_sync();
      token.store_turned(rows, at.row_pitch, a.y, h, count, a.rope, a.start);
      simt::block_sync();
    }
  }
}

// sums[o][i][j] += d_out_o * in_i shifted by tap j; bias[o] += d_out_o.
template <class T>
__device__ __forceinline__ void add_conv(const Token<T>& token, const float* d_out, const float* in,
                                         int channels, float* sums, float* bias) {
  const Layout& at = token.at;
  product(
      at.Hs, channels * at.K, 1, at.D, [&](int o, int, int d) { return d_out[o * at.pitch + at.halo + d]; },
      [&](int, int d, int n) { return in[n / at.K * at.pitch + n % at.K + d]; },
      [&](int o, int n, float sum) { sums[o * channels * at.K + n] += sum; });
  for (int o = int(threadIdx.x); o < at.Hs; o += kThreads) {
    float sum = 0;
    for (int d = 0; d < at.D; ++d) sum += d_out[o * at.pitch + at.halo + d];
    bias[o] += sum;
  }
}

// sums[e][i] += d_out_e in_i over `count` rows; bias[e] += d_out_e.
template <class T>
__device__ __forceinline__ void add_linear(const Token<T>& token, const float* d_out, int count,
                                           const float* in, int in_pitch, int inputs, float* sums,
                                           float* bias) {
  const Layout& at = token.at;
  product(
      at.E, inputs, 1, count, [&](int e, int, int h) { return d_out[h * at.row_pitch + e]; },
      [&](int, int h, int i) { return in[h * in_pitch + i]; },
      [&](int e, int i, float sum) { sums[e * inputs + i] += sum; });
  for (int e = int(threadIdx.x); e < at.E; e += kThreads) {
    float sum = 0;
    for (int h = 0; h < count; ++h) sum += d_out[h * at.row_pitch + e];
    bias[e] += sum;
  }
}

// give(i, d, the transpose of the convolution by w at input channel i, position d).
template <class T, class Give>
__device__ __forceinline__ void convolve_back(const Layout& at, const Mat<const T>& w, const float* d_out,
                                              Give give) {
  product(
      int(w.cols) / at.K, at.D, at.Hs, at.K,
      [&](int i, int o, int j) { return float(w[o][i * at.K + at.K - 1 - j]); },
      [&](int o, int j, int d) { return d_out[o * at.pitch + d + j]; }, give);
}

// From dy to dZ2 in z2's place, a chunk of heads after the other.
template <class T>
__device__ __forceinline__ void projections_bwd(const SasBwd<T>& a, const Token<T>& token, float* z2_lines,
                                                float* rows, float* partial, const SasGradientLayout& to) {
  const Layout& at = token.at;
  float* const relu_z3 = rows + at.chunk * at.row_pitch;
  float* const dy = relu_z3 + at.chunk * at.row_pitch;
  for (int h = 0; h < at.Hs; h += at.chunk) {
    const int count = min(at.chunk, at.Hs - h);
    float* const z2 = token.line(z2_lines, h);
    token.load_turned(dy, at.row_pitch, a.dy, h, count, a.rope);
    token.proj1(z2, count, relu_z3, rows);
    simt::block_sync();
    add_linear(token, dy, count, relu_z3, at.row_pitch, at.E, partial + to.proj2_w, partial + to.proj2_b);
    product(
        at.E, count, 1, at.E, [&](int k, int, int e) { return float(a.w.proj2_w[e][k]); },
        [&](int, int e, int row) { return dy[row * at.row_pitch + e]; },
        [&](int k, int row, float sum) {
          const int i = row * at.row_pitch + k;
          rows[i] = dy[i] + (relu_z3[i] > 0 ? sum : 0.0f);
        });
    simt::block_sync();
    add_linear(token, rows, count, z2, at.pitch, at.D, partial + to.proj1_w, partial + to.proj1_b);
    simt::block_sync();
    product(
        at.D, count, 1, at.E, [&](int d, int, int e) { return float(a.w.proj1_w[e][d]); },
        [&](int, int e, int row) { return rows[row * at.row_pitch + e]; },
        [&](int d, int row, float sum) { z2[row * at.pitch + d] = sum; });
    simt::block_sync();
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    sas_bwd_general_kernel(SasBwd<T> a, Layout at, SasGradientLayout to, int64_t tokens,
                           int64_t partition_tokens) {
  float* const x = simt::dyn_smem<float>();
  float* const relu_z1 = x + at.H * at.pitch;
  float* const dz1 = relu_z1 + at.Hs * at.pitch;
  float* const z2 = at.convs ? dz1 + at.Hs * at.pitch : x;
  float* const rows = z2 + at.Hs * at.pitch;
  float* const partial = a.partial.data + blockIdx.x * to.size;
  clear(x, int(rows - x));
  for (int64_t i = threadIdx.x; i < to.size; i += kThreads) partial[i] = 0;
  const int64_t first = blockIdx.x * partition_tokens, end = min(first + partition_tokens, tokens);
  for (int64_t n = first; n < end; ++n) {
    const Token<T> token{at, n / a.x.T, n % a.x.T, a.w};
    simt::block_sync();  // the token before has left, and the sums are zeros
    token.load(token.line(x, 0), at.pitch, a.x, 0, at.H);
    simt::block_sync();
    if (at.convs) {
      token.conv1(x, relu_z1, z2);
      simt::block_sync();
      if (at.projections) token.conv2(relu_z1, z2);
      simt::block_sync();
    }
    if (at.projections)
      projections_bwd(a, token, z2, rows, partial, to);
    else
      token.load_turned(token.line(z2, 0), at.pitch, a.dy, 0, at.Hs, a.rope);
    simt::block_sync();
    if (!at.convs) {
      token.store(token.line(z2, 0), at.pitch, a.dx, 0, at.H);
      continue;
    }
    add_conv(token, z2, relu_z1, at.Hs, partial + to.conv2_w, partial + to.conv2_b);
    convolve_back(at, a.w.conv2_w, z2, [&](int o, int d, float sum) {
      const float branch = token.line(relu_z1, o)[d] > 0 ? sum : 0.0f;
      token.line(dz1, o)[d] = token.line(z2, o)[d] + branch;
    });
    simt::block_sync();
    add_conv(token, dz1, x, at.H, partial + to.conv1_w, partial + to.conv1_b);
    convolve_back(at, a.w.conv1_w, dz1,
                  [&](int i, int d, float sum) { a.dx.at(token.batch, token.position, i)[d] = T(sum); });
  }
}

}  // namespace

template <class T>
void sas_fwd_general(Stream stream, const SasFwd<T>& a) {
  const SasShape s = sas_shape(a.x, a.y, a.w);
  const simt::DeviceLimits device = simt::device_limits(stream);
  Layout at(s);
  const size_t bytes = fit(at, "sas_fwd", false, device.shared_bytes);
  const int64_t per_processor = std::min<int64_t>(4, int64_t(device.shared_bytes / bytes));
  simt::launch(sas_fwd_general_kernel<T>, std::min<int64_t>(s.tokens, per_processor * device.processors),
               kThreads, bytes, stream, a, at, s.tokens);
}

template <class T>
void sas_bwd_general(Stream stream, const SasBwd<T>& a) {
  const SasShape s = sas_shape(a.x, a.dy, a.w);
  Layout at(s);
  const size_t bytes = fit(at, "sas_bwd", true, simt::device_limits(stream).shared_bytes);
  simt::launch(sas_bwd_general_kernel<T>, sas_partitions(s.tokens), kThreads, bytes, stream, a, at,
               SasGradientLayout(s), s.tokens, sas_partition_tokens(s.tokens));
}

template void sas_fwd_general<float>(Stream, const SasFwd<float>&);
template void sas_fwd_general<bf16>(Stream, const SasFwd<bf16>&);
template void sas_bwd_general<float>(Stream, const SasBwd<float>&);
template void sas_bwd_general<bf16>(Stream, const SasBwd<bf16>&);

}  // namespace saslm::cuda
