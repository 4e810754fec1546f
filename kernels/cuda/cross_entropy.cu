// Contract: kernels/cross_entropy.h. Meaning: kernels/cpu/cross_entropy.cpp.
//
// One block a row. The row comes in packs of 16 bytes by asynchronous copies, kAhead of them under way for
// each thread, and stays in shared memory: 99 KB hold 50,624 bf16. A thread keeps maximum and sum of its own
// packs on line, then the block makes them the row's, and the same thread writes the gradient where its packs
// came from: no barrier but the one of the reduction. What does not fit is read a second time, mostly from
// L2. Rows may start anywhere: the elements before the first aligned pack and after the last one are single
// threads' work.
//
// Floor on an H200: 4 bytes a bf16 logit at 4.3 TB/s, 47 ns a row of 50,304. Two blocks a multiprocessor, so
// that one computes while the other waits; at 1.76 GHz two exponentials a logit take 62 % of that time in
// their unit, all instructions half of it in theirs. The exponential is not kept: as bf16 it would be rounded
// twice. A soft cap is a kernel of its own, and takes tanhf twice a logit, with two more of that unit's
// results each; tanh.approx, good to 2^-11, would move a logit of 20 by 0.01. The z-loss is the row's: it
// scales the probabilities.
#include "kernels/cross_entropy.h"
#include "kernels/cuda/device.cuh"

namespace saslm::cuda {
namespace {

constexpr int kThreads = 512, kWarps = kThreads / kWarp;
constexpr int kAhead = 8;     // copies: 64 KB a block
constexpr int kStreamed = 4;  // packs read at a time when they pass shared memory by
constexpr int kTotalsBytes = kWarps * 8;
// Two blocks on sm_90, one on sm_80; sm_86 and sm_89 give no more.
constexpr int kHeldBytes = (99 << 10) - kTotalsBytes;
constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;

// What a logit counts as; and its slope in the logit, where there is a cap.
struct Uncapped {
  static constexpr bool kCaps = false;
  __device__ __forceinline__ explicit Uncapped(double) {}
  __device__ __forceinline__ float operator()(float z) const { return z; }
  __device__ __forceinline__ float operator()(float z, float&) const { return z; }
};
struct SoftCapped {
  static constexpr bool kCaps = true;
  float cap, inverse;

  __device__ __forceinline__ explicit SoftCapped(double c) : cap(float(c)), inverse(1 / cap) {}
  __device__ __forceinline__ float operator()(float z) const { return cap * tanhf(z * inverse); }
  __device__ __forceinline__ float operator()(float z, float& slope) const {
    const float share = tanhf(z * inverse);
    slope = fmaf(-share, share, 1.0f);
    return cap * share;
  }
};

// sum of e^z over what was added, as 2^top * sum. A logit that is not finite makes the sum NaN.
struct alignas(8) ExpSum {
  float top = -3e38f;  // finite: nothing added to nothing is nothing
  float sum = 0;

  __device__ __forceinline__ float share(float z) const {  // e^z / 2^top
    return simt::exp2_approx(fmaf(z, kLog2e, -top));
  }
  __device__ __forceinline__ void raise(float to) {
    sum *= simt::exp2_approx(top - to);
    top = to;
  }
  // Logits z that count as s. Of z is what makes the sum NaN: a cap makes infinity finite.
  template <int n>
  __device__ __forceinline__ void add(const float (&z)[n], const float (&s)[n]) {
    float largest = s[0];
    SIMT_UNROLL
    for (int i = 1; i < n; ++i) largest = fmaxf(largest, s[i]);
    raise(fmaxf(top, largest * kLog2e));
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) sum += fmaf(z[i], 0.0f, share(s[i]));
  }
  template <int n>
  __device__ __forceinline__ void add(const float (&z)[n], const Uncapped&) {
    add(z, z);
  }
  template <int n>
  __device__ __forceinline__ void add(const float (&z)[n], const SoftCapped& cap) {
    float s[n];
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) s[i] = cap(z[i]);
    add(z, s);
  }
};

// Every lane gets the sum of all.
__device__ __forceinline__ ExpSum warp_total(ExpSum s) {
  s.raise(warp_max(s.top));
  s.sum = warp_sum(s.sum);
  return s;
}

// A row as packs between single elements at its edges, fewer than two packs of them.
template <class T>
struct PackedRow {
  static constexpr int n = kPack<T>;
  int head, packs, edges;
  T* body;

  __device__ __forceinline__ PackedRow(T* row, int V)
      : head(min(V, int((0 - reinterpret_cast<uintptr_t>(row) / sizeof(T)) % n))),
        packs((V - head) / n),
        edges(V - packs * n),
        body(row + head) {}
  // The place in the row of an element at its edges.
  __device__ __forceinline__ int edge(int i) const { return i < head ? i : i + packs * n; }
};

// f(p, z) for this thread's packs from `held` on.
template <class T, class F>
__device__ __forceinline__ void each_streamed(const PackedRow<T>& row, int held, F f) {
  constexpr int n = kPack<T>;
  for (int first = held + int(threadIdx.x); first < row.packs; first += kStreamed * kThreads) {
    Pack<T, n> packs[kStreamed];
    SIMT_UNROLL
    for (int i = 0; i < kStreamed; ++i)
      if (first + i * kThreads < row.packs) packs[i] = load_pack<n>(row.body + (first + i * kThreads) * n);
    SIMT_UNROLL
    for (int i = 0; i < kStreamed; ++i) {
      float z[n];
      unpack(z, packs[i]);
      if (first + i * kThreads < row.packs) f(first + i * kThreads, z);
    }
  }
}

// This thread's packs before `held`, brought to shared memory and added while others come.
template <class T, class Cap>
__device__ __forceinline__ void hold_and_add(ExpSum& sum, T* kept, const PackedRow<T>& row, int held,
                                             const Cap& cap) {
  constexpr int n = kPack<T>;
  const int me = int(threadIdx.x);
  for (int first = 0; first < held + kAhead * kThreads; first += kThreads) {
    const int coming = first + me, here = coming - kAhead * kThreads;
    if (coming < held) simt::cp_async16(kept + coming * n, row.body + coming * n);
    simt::cp_async_commit();
    simt::cp_async_wait<kAhead>();
    if (here < 0 || here >= held) continue;
    float z[n];
    load(z, kept + here * n);
    sum.add(z, cap);
  }
}

// The gradients of a pack whose logits are z: = from them; target: the target's place in the pack, if it is.
template <int n, class Cap>
__device__ __forceinline__ void make_gradients(float (&z)[n], const ExpSum& sum, const Cap& cap, float factor,
                                               int target, float scale) {
  float slope[n];
  SIMT_UNROLL
  for (int i = 0; i < n; ++i) z[i] = factor * sum.share(cap(z[i], slope[i]));
  if (unsigned(target) < unsigned(n)) {
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) z[i] -= i == target ? scale : 0.0f;
  }
  if constexpr (Cap::kCaps) {
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) z[i] *= slope[i];
  }
}

template <class T, class Cap>
__global__ void __launch_bounds__(kThreads, 2) cross_entropy_kernel(CrossEntropy<T> a, int capacity) {
  constexpr int n = kPack<T>;
  ExpSum* const warps = simt::dyn_smem<ExpSum>();
  T* const kept = reinterpret_cast<T*>(warps + kWarps);
  T* const logits = a.logits[blockIdx.x];
  const int V = int(a.logits.cols - a.pad);
  const PackedRow<T> row(logits, V);
  const int me = int(threadIdx.x), held = min(row.packs, capacity);
  const int target = a.targets[blockIdx.x];  // used when the packs have come: nothing waits before them
  const Cap cap(a.softcap);
  T edge_logit{};
  if (me < row.edges) edge_logit = logits[row.edge(me)];

  ExpSum sum;
  hold_and_add(sum, kept, row, held, cap);
  const float at_target = cap(float(logits[target]));
  float edge[1] = {float(edge_logit)};
  if (me < row.edges) sum.add(edge, cap);
  each_streamed(row, held, [&](int, const float(&z)[n]) { sum.add(z, cap); });

  sum = warp_total(sum);
  if (simt::lane_id() == 0) warps[simt::warp_id()] = sum;
  simt::block_sync();  // also: no logit is overwritten before every thread has read the target's
  sum = warp_total(simt::lane_id() < kWarps ? warps[simt::lane_id()] : ExpSum{});
  if (me == 0) a.loss[blockIdx.x] = logf(sum.sum) + fmaf(sum.top, kLn2, -at_target);
  float probabilities = float(a.scale);
  if (a.z_weight != 0) {
    const float lse = fmaf(sum.top, kLn2, logf(sum.sum)), weighted = float(a.z_weight) * lse;
    if (me == 0) a.aux_loss[blockIdx.x] += weighted * lse;
    probabilities *= fmaf(2.0f, weighted, 1.0f);
  }
  if (a.scale == 0) return;

  const float scale = float(a.scale), factor = probabilities / sum.sum;
  const int in_body = target - row.head;
  const auto write = [&](int p, float(&z)[n]) {
    make_gradients(z, sum, cap, factor, in_body - p * n, scale);
    store(row.body + p * n, z);
  };
  for (int p = me; p < held; p += kThreads) {
    float z[n];
    load(z, kept + p * n);
    write(p, z);
  }
  each_streamed(row, held, write);
  if (me < row.edges) {
    make_gradients(edge, sum, cap, factor, target - row.edge(me), scale);
    logits[row.edge(me)] = T(edge[0]);
  }
  for (int v = V + me; v < int(a.logits.cols); v += kThreads) logits[v] = T(0.0f);
}

}  // namespace

template <class T>
void cross_entropy(Stream stream, const CrossEntropy<T>& a) {
  a.check();
  if (a.logits.rows == 0) return;
  const int capacity = int(min(a.vocab() / kPack<T>, int64_t{kHeldBytes / 16}));
  const auto launch = [&](auto kernel) {
    simt::launch(kernel, a.logits.rows, kThreads, kTotalsBytes + size_t(capacity) * 16, stream, a, capacity);
  };
  a.softcap == 0 ? launch(cross_entropy_kernel<T, Uncapped>) : launch(cross_entropy_kernel<T, SoftCapped>);
}

template void cross_entropy(Stream, const CrossEntropy<float>&);
template void cross_entropy(Stream, const CrossEntropy<bf16>&);

}  // namespace saslm::cuda
