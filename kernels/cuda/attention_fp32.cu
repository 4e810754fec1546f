// Attention of any width, float and bf16, all arithmetic in float: the float instantiation, which the bf16
// kernels and whole models are verified with, and heads wider than kAttentionWidths. Contract:
// kernels/attention.h. Simple rather than fast.
//
// Grid     A warp for each query (forward: o, lse; backward: dq) or each key of a k or v head (dk, dv).
// Block    4 warps that know nothing of each other. A warp goes over the opposite rows, 32 at a time: a
//          lane weighs one of them, then sums every 32nd feature over all of them.
// Shared   Of each warp: struct Row.
// Writes   o, lse (=); dq, dk, dv (=). Sums run over keys, queries and heads in ascending order.
// Cost     No more than 1 % of the card's float rate: the lanes of a warp read 32 rows at once, from L1.
#include <algorithm>
#include <string>

#include "core/dims.h"
#include "kernels/cuda/attention_bwd_schedule.h"
#include "kernels/cuda/attention_parts.h"
#include "kernels/cuda/attention_tile.cuh"

namespace saslm::cuda {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarp;  // as attention_any_width_shared_bytes has it

__device__ __forceinline__ float warp_max(float x) {
  SIMT_UNROLL
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) x = fmaxf(x, simt::shuffle_xor(x, lanes));
  return x;
}
__device__ __forceinline__ float warp_sum(float x) {
  SIMT_UNROLL
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) x += simt::shuffle_xor(x, lanes);
  return x;
}

// A row that the whole warp reads, in shared memory.
template <class T>
__device__ __forceinline__ void load_row(float* to, const T* from, int64_t n, float factor) {
  for (int64_t i = simt::lane_id(); i < n; i += kWarp) to[i] = float(from[i]) * factor;
}
template <class T>
__device__ __forceinline__ float dot(const float* x, const T* y, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * float(y[i]);
  return sum;
}

// Shared memory of one warp.
struct Row {
  float *qk, *vo, *sum, *weights;  // a row of width E, one of width D, the result's, and 32 weights

  static constexpr int64_t floats(int64_t E, int64_t D) { return E + D + std::max(E, D) + kWarp; }
  __device__ __forceinline__ Row(int64_t E, int64_t D)
      : qk(simt::dyn_smem<float>() + simt::warp_id() * floats(E, D)),
        vo(qk + E),
        sum(vo + D),
        weights(sum + std::max(E, D)) {}

  // sum = sum * shrink + the rows of x, weighed; every lane has its own features.
  template <class T>
  __device__ __forceinline__ void add(const Rows<const T>& x, int first, int count, float shrink) const {
    for (int d = simt::lane_id(); d < x.width; d += kWarp) {
      float total = sum[d] * shrink;
      for (int n = 0; n < count; ++n) total += weights[n] * float(x[first + n][d]);
      sum[d] = total;
    }
  }
  template <class T>
  __device__ __forceinline__ void put(T* to, int64_t n, float factor) const {
    for (int64_t d = simt::lane_id(); d < n; d += kWarp) to[d] = T(sum[d] * factor);
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads, 1) any_width_fwd_kernel(AttentionFwd<T> a, AttentionHeads heads) {
  const Row row(a.q.D, a.v.D);
  const int64_t index = int64_t(blockIdx.x) * kWarps + simt::warp_id();
  const int64_t i = index % a.q.T, h = index / a.q.T % a.q.H, b = index / a.q.T / a.q.H;
  if (b >= a.q.B) return;  // the whole warp leaves together; there are no barriers of the block
  const Rows<const T> k(a.k, b, heads.k(int(h))), v(a.v, b, heads.v(int(h)));
  load_row(row.qk, a.q.at(b, i, h), a.q.D, float(a.scale));
  for (int64_t d = simt::lane_id(); d < a.v.D; d += kWarp) row.sum[d] = 0;
  simt::warp_sync();

  float top = -INFINITY, total = 0;
  const int seen = int(a.start + i) + 1;
  for (int first = a.mask.of(b, a.k.T).first(seen - 1); first < seen; first += kWarp) {
    const int key = first + simt::lane_id();
    const float s = key < seen ? dot(row.qk, k[key], a.q.D) : -INFINITY;
    const float now = fmaxf(top, warp_max(s)), shrink = expf(top - now), p = expf(s - now);
    top = now;
    total = total * shrink + warp_sum(p);
    row.weights[simt::lane_id()] = p;
    simt::warp_sync();
    row.add(v, first, min(kWarp, seen - first), shrink);
    simt::warp_sync();
  }
  row.put(a.o.at(b, i, h), a.o.D, 1 / total);
  if (simt::lane_id() == 0) a.lse[index] = top + logf(total);
}

// One pair of a query and a key, from either side: `qk` and `vo` are the row that the warp holds of q (or k),
// with the scale, and of dy (or v).
struct Pair {
  float p, ds;

  template <class T>
  __device__ __forceinline__ Pair(const Row& row, const T* qk, int64_t E, const T* vo, int64_t D,
                                  float2 query)
      : p(exp2f(dot(row.qk, qk, E) * kLog2e - query.x)), ds(p * (dot(row.vo, vo, D) - query.y)) {}
};

template <class T>
__global__ void __launch_bounds__(kThreads, 1)
    any_width_dq_kernel(AttentionBwd<T> a, AttentionHeads heads, const float2* statistics, int64_t padded) {
  const Row row(a.q.D, a.v.D);
  const int64_t index = int64_t(blockIdx.x) * kWarps + simt::warp_id();
  const int64_t i = index % a.q.T, h = index / a.q.T % a.q.H, b = index / a.q.T / a.q.H;
  if (b >= a.q.B) return;
  const Rows<const T> k(a.k, b, heads.k(int(h))), v(a.v, b, heads.v(int(h)));
  load_row(row.qk, a.q.at(b, i, h), a.q.D, float(a.scale));
  load_row(row.vo, a.dy.at(b, i, h % a.dy.H), a.v.D, 1);
  for (int64_t e = simt::lane_id(); e < a.q.D; e += kWarp) row.sum[e] = 0;
  simt::warp_sync();

  const float2 query = statistics[(b * a.q.H + h) * padded + i];
  for (int first = a.mask.of(b, a.k.T).first(int(i)); first <= i; first += kWarp) {
    const int key = first + simt::lane_id();
    row.weights[simt::lane_id()] = key <= i ? Pair(row, k[key], a.q.D, v[key], a.v.D, query).ds : 0;
    simt::warp_sync();
    row.add(k, first, min(kWarp, int(i) + 1 - first), 1);
    simt::warp_sync();
  }
  row.put(a.dq.at(b, i, h), a.q.D, float(a.scale) * float(a.dy.H) / float(a.q.H));
}

// kOfKeys: dk, else dv.
template <class T, bool kOfKeys>
__global__ void __launch_bounds__(kThreads, 1)
    any_width_dkv_kernel(AttentionBwd<T> a, AttentionHeads heads, const float2* statistics, int64_t padded) {
  const Heads<T>& out = kOfKeys ? a.dk : a.dv;
  const Row row(a.q.D, a.v.D);
  const int64_t index = int64_t(blockIdx.x) * kWarps + simt::warp_id();
  const int j = int(index % out.T), group = int(index / out.T % out.H);
  const int64_t b = index / out.T / out.H;
  if (b >= out.B) return;
  for (int64_t d = simt::lane_id(); d < out.D; d += kWarp) row.sum[d] = 0;
  const int seen = a.mask.of(b, a.k.T).last(j) + 1;  // the queries before this one see the key
  for (int h = 0; h < a.q.H; ++h) {
    if ((kOfKeys ? heads.k(h) : heads.v(h)) != group) continue;
    const Rows<const T> q(a.q, b, h), dy(a.dy, b, h % a.dy.H);
    load_row(row.qk, a.k.at(b, j, heads.k(h)), a.q.D, float(a.scale));
    load_row(row.vo, a.v.at(b, j, heads.v(h)), a.v.D, 1);
    simt::warp_sync();
    for (int first = j; first < seen; first += kWarp) {
      const int i = first + simt::lane_id();
      float weight = 0;
      if (i < seen) {
        const Pair pair(row, q[i], a.q.D, dy[i], a.v.D, statistics[(b * a.q.H + h) * padded + i]);
        weight = kOfKeys ? pair.ds : pair.p;
      }
      row.weights[simt::lane_id()] = weight;
      simt::warp_sync();
      row.add(kOfKeys ? q : dy, first, min(kWarp, seen - first), 1);
      simt::warp_sync();
    }
  }
  const float share = float(a.dy.H) / float(a.q.H);
  row.put(out.at(b, j, group), out.D, kOfKeys ? share * float(a.scale) : share);
}

size_t shared_bytes(Stream stream, const char* op, int64_t E, int64_t D) {
  const size_t wanted = attention_any_width_shared_bytes(E, D),
               most = simt::device_limits(stream).shared_bytes;
  if (wanted > most)
    throw ShapeError(std::string(op) + ": rows of (" + std::to_string(E) + ", " + std::to_string(D) +
                     ") want " + std::to_string(wanted) + " bytes of shared memory, the device has " +
                     std::to_string(most) + "; take narrower heads");
  return wanted;
}

}  // namespace

template <class T>
void attention_fwd_any_width(Stream stream, const AttentionFwd<T>& a) {
  const size_t shared = shared_bytes(stream, "attention_fwd", a.q.D, a.v.D);
  simt::launch(any_width_fwd_kernel<T>, ceil_div(a.q.B * a.q.H * a.q.T, kWarps), kThreads, shared, stream, a,
               heads_of(a));
}

template <class T>
void attention_bwd_any_width(Stream stream, const AttentionBwd<T>& a) {
  const AttentionBwdSchedule schedule(shape_of(a));
  const size_t shared = shared_bytes(stream, "attention_bwd", a.q.D, a.v.D);
  const auto run = [&](auto kernel, const Heads<T>& out) {
    simt::launch(kernel, ceil_div(out.B * out.H * out.T, kWarps), kThreads, shared, stream, a, heads_of(a),
                 reinterpret_cast<const float2*>(a.scratch.data), schedule.padded_queries());
  };
  run(any_width_dq_kernel<T>, a.dq);
  run(any_width_dkv_kernel<T, true>, a.dk);
  run(any_width_dkv_kernel<T, false>, a.dv);
}

template void attention_fwd_any_width<float>(Stream, const AttentionFwd<float>&);
template void attention_fwd_any_width<bf16>(Stream, const AttentionFwd<bf16>&);
template void attention_bwd_any_width<float>(Stream, const AttentionBwd<float>&);
template void attention_bwd_any_width<bf16>(Stream, const AttentionBwd<bf16>&);

}  // namespace saslm::cuda
