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
// twice.
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
  template <int n>
  __device__ __forceinline__ void add(const float (&z)[n]) {
    float largest = z[0];
    SIMT_UNROLL
    for (int i = 1; i < n; ++i) largest = fmaxf(largest, z[i]);
    raise(fmaxf(top, largest * kLog2e));
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) sum += fmaf(z[i], 0.0f, share(z[i]));
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
template <class T>
__device__ __forceinline__ void hold_and_add(ExpSum& sum, T* kept, const PackedRow<T>& row, int held) {
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
    sum.add(z);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 2) cross_entropy_kernel(CrossEntropy<T> a, int capacity) {
  constexpr int n = kPack<T>;
  ExpSum* const warps = simt::dyn_smem<ExpSum>();
  T* const kept = reinterpret_cast<T*>(warps + kWarps);
  T* const logits = a.logits[blockIdx.x];
  const int V = int(a.logits.cols - a.pad);
  const PackedRow<T> row(logits, V);
  const int me = int(threadIdx.x), held = min(row.packs, capacity);
  const int target = a.targets[blockIdx.x];  // used when the packs have come: nothing waits before them
  T edge_logit{};
  if (me < row.edges) edge_logit = logits[row.edge(me)];

  ExpSum sum;
  hold_and_add(sum, kept, row, held);
  const float at_target = float(logits[target]), edge[1] = {float(edge_logit)};
  if (me < row.edges) sum.add(edge);
  each_streamed(row, held, [&](int, const float(&z)[n]) { sum.add(z); });

  sum = warp_total(sum);
  if (simt::lane_id() == 0) warps[simt::warp_id()] = sum;
  simt::block_sync();  // also: no logit is overwritten before every thread has read the target's
  sum = warp_total(simt::lane_id() < kWarps ? warps[simt::lane_id()] : ExpSum{});
  if (me == 0) a.loss[blockIdx.x] = logf(sum.sum) + fmaf(sum.top, kLn2, -at_target);
  if (a.scale == 0) return;

  const float scale = float(a.scale), factor = scale / sum.sum;
  const int in_body = target - row.head;
  const auto write = [&](int p, float(&z)[n]) {
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) z[i] = factor * sum.share(z[i]);
    if (unsigned(in_body - p * n) < unsigned(n)) {
      SIMT_UNROLL
      for (int i = 0; i < n; ++i) z[i] -= i == in_body - p * n ? scale : 0.0f;
    }
    store(row.body + p * n, z);
  };
  for (int p = me; p < held; p += kThreads) {
    float z[n];
    load(z, kept + p * n);
    write(p, z);
  }
  each_streamed(row, held, write);
  if (me < row.edges)
    logits[row.edge(me)] = T(factor * sum.share(edge[0]) - (row.edge(me) == target ? scale : 0.0f));
  for (int v = V + me; v < int(a.logits.cols); v += kThreads) logits[v] = T(0.0f);
}

}  // namespace

template <class T>
void cross_entropy(Stream stream, const CrossEntropy<T>& a) {
  a.check();
  if (a.logits.rows == 0) return;
  const int capacity = int(min(a.vocab() / kPack<T>, int64_t{kHeldBytes / 16}));
  simt::launch(cross_entropy_kernel<T>, a.logits.rows, kThreads, kTotalsBytes + size_t(capacity) * 16, stream,
               a, capacity);
}

template void cross_entropy(Stream, const CrossEntropy<float>&);
template void cross_entropy(Stream, const CrossEntropy<bf16>&);

}  // namespace saslm::cuda
