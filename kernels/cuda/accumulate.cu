// Contract: kernels/accumulate.h. Meaning: kernels/cpu/accumulate.cpp.
//
// 16 bytes of each vector a thread. Floor: 12 bytes an element, 0.35 ms for 124M at 4.3 TB/s.
#include "kernels/accumulate.h"
#include "kernels/cuda/any_kernel.h"
#include "kernels/cuda/device.cuh"

namespace saslm::cuda {

namespace {

constexpr int kThreads = 256;

template <int n>
__global__ void __launch_bounds__(kThreads) accumulate_kernel(Accumulate<float> a) {
  const int64_t first = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * n;
  if (first + n <= a.y.size) {
    float x[n];
    load(x, a.x.data + first);
    add(a.y.data + first, x);
  } else {
    for (int64_t i = first; i < a.y.size; ++i) a.y[i] += a.x[i];
  }
}

}  // namespace

void accumulate(Stream stream, const Accumulate<float>& a) {
  a.check();
  if (a.y.size == 0) return;
  constexpr int n = kPack<float>;
  const bool packs = in_packs<n>(a.y.data) && in_packs<n>(a.x.data);
  simt::launch(packs ? accumulate_kernel<n> : accumulate_kernel<1>,
               ceil_div(a.y.size, kThreads * (packs ? n : 1)), kThreads, 0, stream, a);
}

const void* any_kernel() {
  return reinterpret_cast<const void*>(accumulate_kernel<1>);
}

}  // namespace saslm::cuda
