// Contract: kernels/attention.h. Meaning: kernels/cpu/attention_fwd.cpp, attention_bwd.cpp.
//
// The choice between attention's kernels: attention_fwd.cu and attention_bwd.cu on the tensor cores, for
// bf16 whose rows all begin and end on 4 bytes (on 16 they are loaded faster) and whose widths a pair of
// kAttentionWidths holds; attention_fp32.cu for float and for the rest. paths.h chooses.
//
// This file also has the two passes over rows that all of them share, bound by memory: the mean over head
// groups reads o and writes y once, 1.4 ns a token at 36 heads of 64 in 12 channels (H200, 4.3 TB/s); the
// statistics of backward read o and dy, 1.5 ns.
#include "core/dims.h"
#include "kernels/cuda/attention_bwd_schedule.h"
#include "kernels/cuda/attention_parts.h"
#include "kernels/cuda/attention_tile.cuh"

namespace saslm::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kLanes = 8;  // lanes of a row: 8 times 16 bytes are 64 features in bf16

// y = the mean of the P rows of o that stand for one channel, in ascending order.
template <class T, int N>
__global__ void __launch_bounds__(kThreads) mean_over_groups_kernel(Heads<T> y, Heads<const T> o) {
  struct alignas(N * sizeof(T)) Vector {
    T x[N];
  };
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x, chunks = (y.D + N - 1) / N;
  const int64_t row = i / chunks, d = i % chunks * N;
  const int64_t h = row % y.H, t = row / y.H % y.T, b = row / y.H / y.T;
  if (b >= y.B) return;
  float sums[N] = {};
  for (int64_t head = h; head < o.H; head += y.H) {
    const Vector v = simt::ldv<Vector>(o.at(b, t, head) + d);
    SIMT_UNROLL
    for (int n = 0; n < N; ++n) sums[n] += float(v.x[n]);
  }
  const float share = float(y.H) / float(o.H);
  Vector out;
  SIMT_UNROLL
  for (int n = 0; n < N; ++n) out.x[n] = T(sums[n] * share);
  if constexpr (sizeof out == 16)
    simt::stv_global(y.at(b, t, h) + d, out);
  else
    simt::stv(y.at(b, t, h) + d, out);
}

template <class T>
void mean_over_groups(Stream stream, const Heads<T>& y, const Heads<const T>& o) {
  const auto run = [&]<int N>() {
    simt::launch(mean_over_groups_kernel<T, N>, ceil_div(y.B * y.T * y.H * (y.D / N), kThreads), kThreads, 0,
                 stream, y, o);
  };
  if (in_vectors(y) && in_vectors(o))
    run.template operator()<16 / int(sizeof(T))>();
  else if (in_vectors<4>(y) && in_vectors<4>(o))
    run.template operator()<4 / int(sizeof(T))>();
  else
    run.template operator()<1>();
}

// The first step of backward: {lse log2 e, delta = dy . o} of every query. Queries past the last one get
// {inf, 0}, which makes their probabilities and gradients 0. Sums: a lane's features in order, then the
// lanes pairwise.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    statistics_kernel(float2* statistics, AttentionBwd<T> a, int64_t padded) {
  struct alignas(N * sizeof(T)) Vector {
    T x[N];
  };
  const int64_t row = int64_t(blockIdx.x) * (kThreads / kLanes) + threadIdx.x / kLanes;
  const int64_t t = row % padded, head = row / padded, b = head / a.q.H, h = head % a.q.H;
  const bool present = b < a.q.B && t < a.q.T;
  float sum = 0;
  if (present)
    for (int64_t d = threadIdx.x % kLanes * N; d < a.o.D; d += kLanes * N) {
      const Vector o = simt::ldv<Vector>(a.o.at(b, t, h) + d);
      const Vector dy = simt::ldv<Vector>(a.dy.at(b, t, h % a.dy.H) + d);
      SIMT_UNROLL
      for (int n = 0; n < N; ++n) sum += float(o.x[n]) * float(dy.x[n]);
    }
  SIMT_UNROLL
  for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) sum += simt::shuffle_xor(sum, lanes);
  if (b < a.q.B && threadIdx.x % kLanes == 0)
    simt::stv(statistics + row,
              present ? float2{a.lse[head * a.q.T + t] * kLog2e, sum} : float2{INFINITY, 0.0f});
}

template <class T>
void prepare_statistics(Stream stream, const AttentionBwd<T>& a) {
  const int64_t padded = round_up(a.q.T, AttentionBwdSchedule::kQueryPadding);
  const auto kernel = in_vectors(a.o) && in_vectors(a.dy)         ? statistics_kernel<T, 16 / int(sizeof(T))>
                      : in_vectors<4>(a.o) && in_vectors<4>(a.dy) ? statistics_kernel<T, 4 / int(sizeof(T))>
                                                                  : statistics_kernel<T, 1>;
  simt::launch(kernel, ceil_div(a.q.B * a.q.H * padded, kThreads / kLanes), kThreads, 0, stream,
               reinterpret_cast<float2*>(a.scratch.data), a, padded);
}

template <class T>
void check_scratch(const AttentionBwd<T>& a) {
  const int64_t wanted = attention_bwd_scratch<T>(shape_of(a));
  if (!a.scratch || a.scratch.size < wanted)
    throw ShapeError("attention_bwd: scratch has " + std::to_string(a.scratch.size) +
                     " elements, wanted attention_bwd_scratch(...) = " + std::to_string(wanted));
  if (reinterpret_cast<uintptr_t>(a.scratch.data) % 16 != 0)
    throw ShapeError("attention_bwd: scratch does not begin on 16 bytes, as what a Layout places does");
}

}  // namespace

template <class T>
void attention_fwd(Stream stream, const AttentionFwd<T>& a) {
  a.check();
  const Path path = choose(paths_of(simt::device_limits(stream), a), stream);
  if (path.slow())
    attention_fwd_any_width(stream, a);
  else if constexpr (std::is_same_v<T, bf16>)
    attention_fwd_on_tiles(stream, a, path);
  if (a.y) mean_over_groups<T>(stream, a.y, a.o);
}

template <class T>
void attention_bwd(Stream stream, const AttentionBwd<T>& a) {
  a.check();
  check_scratch(a);
  prepare_statistics(stream, a);
  const Path path = choose(paths_of(simt::device_limits(stream), a), stream);
  if (path.slow())
    attention_bwd_any_width(stream, a);
  else if constexpr (std::is_same_v<T, bf16>)
    attention_bwd_on_tiles(stream, a, path);
}

template void attention_fwd<float>(Stream, const AttentionFwd<float>&);
template void attention_fwd<bf16>(Stream, const AttentionFwd<bf16>&);
template void attention_bwd<float>(Stream, const AttentionBwd<float>&);
template void attention_bwd<bf16>(Stream, const AttentionBwd<bf16>&);

}  // namespace saslm::cuda
