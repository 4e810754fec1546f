// Contract: kernels/adamw.h. Meaning: kernels/cpu/adamw.cpp.
//
// adamw: 16 bytes of each fp32 tensor and 8 of the bf16 parameters a thread; the constants come from the host
// in double and are rounded once. Floor: 30 bytes an element, 0.87 ms for 124M at 4.3 TB/s.
//
// sum: up to 1024 blocks, one wave on an H200, sum interleaved parts of the vector; one block adds the
// partial sums. Thread, warp, block and partial sums are double and in an order that follows from the size
// alone. Floor: one read, 0.15 ms for 124M at 3.3 TB/s.
#include <cmath>

#include "kernels/adamw.h"
#include "kernels/cuda/device.cuh"

namespace saslm::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kSumPack = 4;

struct Factors {  // as the contract's formula has them, and 1/(1-b1^t), 1/sqrt(1-b2^t)
  float lr, beta1, rest1, beta2, rest2, eps, decay, grad_scale, unbias_m, unbias_root_v;
};

template <class T, int n>
__device__ __forceinline__ void update(const AdamW<T>& a, const Factors& f, int64_t i) {
  float g[n], m[n], v[n], p[n];
  load(g, a.grad.data + i);
  load(m, a.m.data + i);
  load(v, a.v.data + i);
  load(p, a.master.data + i);
  SIMT_UNROLL
  for (int j = 0; j < n; ++j) {
    const float scaled = g[j] * f.grad_scale;
    m[j] = m[j] * f.beta1 + scaled * f.rest1;
    v[j] = v[j] * f.beta2 + scaled * scaled * f.rest2;
    const float step = m[j] * f.unbias_m / (sqrtf(v[j]) * f.unbias_root_v + f.eps);
    p[j] -= f.lr * (step + f.decay * p[j]);
  }
  store(a.m.data + i, m);
  store(a.v.data + i, v);
  store(a.master.data + i, p);
  if (a.param) store(a.param.data + i, p);
}

template <class T, int n>
__global__ void __launch_bounds__(kThreads) adamw_kernel(AdamW<T> a, Factors f) {
  const int64_t first = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * n, size = a.grad.size;
  if (first + n <= size)
    update<T, n>(a, f, first);
  else
    for (int64_t i = first; i < size; ++i) update<T, 1>(a, f, i);
}

__global__ void __launch_bounds__(kThreads) sum_kernel(Vec<const float> x, Vec<double> partial) {
  SIMT_SHARED(double[kWarps], sums);
  const int64_t rank = int64_t{blockIdx.x} * kThreads + threadIdx.x, step = int64_t{gridDim.x} * kThreads;
  double sum = 0;
  const bool packs = reinterpret_cast<uintptr_t>(x.data) % (kSumPack * sizeof(float)) == 0;
  const int64_t whole = packs ? x.size / kSumPack : 0;
  for (int64_t i = rank; i < whole; i += step) {
    float v[kSumPack];
    load(v, x.data + i * kSumPack);
    SIMT_UNROLL
    for (int j = 0; j < kSumPack; ++j) sum += double(v[j]);
  }
  for (int64_t i = whole * kSumPack + rank; i < x.size; i += step) sum += double(x[i]);
  sum = block_sum(sum, sums);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) sum_partials_kernel(double* out, Vec<const double> partial) {
  SIMT_SHARED(double[kWarps], sums);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < partial.size; i += kThreads) sum += partial[i];
  sum = block_sum(sum, sums);
  if (threadIdx.x == 0) *out += sum;
}

}  // namespace

template <class T>
void adamw(Stream stream, const AdamW<T>& a) {
  a.check();
  if (a.grad.size == 0) return;
  const Factors factors{.lr = float(a.lr),
                        .beta1 = float(a.beta1),
                        .rest1 = float(1 - a.beta1),
                        .beta2 = float(a.beta2),
                        .rest2 = float(1 - a.beta2),
                        .eps = float(a.eps),
                        .decay = float(a.weight_decay),
                        .grad_scale = float(a.grad_scale),
                        .unbias_m = float(1 / (1 - std::pow(a.beta1, double(a.t)))),
                        .unbias_root_v = float(1 / std::sqrt(1 - std::pow(a.beta2, double(a.t))))};
  constexpr int n = kPack<float>;
  const bool packs = in_packs<n>(a.grad.data) && in_packs<n>(a.m.data) && in_packs<n>(a.v.data) &&
                     in_packs<n>(a.master.data) && in_packs<n>(a.param.data);
  simt::launch(packs ? adamw_kernel<T, n> : adamw_kernel<T, 1>,
               ceil_div(a.grad.size, kThreads * (packs ? n : 1)), kThreads, 0, stream, a, factors);
}

void sum(Stream stream, const DeviceSum& a) {
  a.check();
  if (a.x.size > 0) simt::launch(sum_kernel, a.partial.size, kThreads, 0, stream, a.x, a.partial);
  simt::launch(sum_partials_kernel, 1, kThreads, 0, stream, a.out, a.partial);
}

template void adamw(Stream, const AdamW<float>&);
template void adamw(Stream, const AdamW<bf16>&);

}  // namespace saslm::cuda
