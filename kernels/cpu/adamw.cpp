// Contract: kernels/adamw.h.
#include "kernels/adamw.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/dims.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace saslm::cpu {

namespace {

constexpr int64_t kElementsPerTask = 16384;

// One vector instruction under -fno-math-errno; lane by lane otherwise.
template <class T>
Simd<T> sqrt(Simd<T> x) {
#pragma GCC unroll 16
  for (int64_t i = 0; i < kLanes<T>; ++i) x[i] = std::sqrt(x[i]);
  return x;
}

// A moment whose gradient has ended decays into the denormals, where the processor is a hundred times slower,
// and never leaves them: 0.9 x rounds back to the smallest few. So it ends at the least normal number; not
// above, for v's root counts against eps even there.
template <class T>
Simd<T> flush_tiny(Simd<T> x) {
  constexpr T kTiny = std::numeric_limits<T>::min();
  return ((x < kTiny) & (x > -kTiny)) ? Simd<T>{} : x;
}

}  // namespace

template <class T>
void adamw(Stream, const AdamW<T>& a) {
  using A = Accum<T>;
  a.check();
  const A beta1 = A(a.beta1), beta2 = A(a.beta2), rest1 = A(1 - a.beta1), rest2 = A(1 - a.beta2);
  const A unbias_m = A(1 / (1 - std::pow(a.beta1, double(a.t))));
  const A unbias_root_v = A(1 / std::sqrt(1 - std::pow(a.beta2, double(a.t))));
  const A lr = A(a.lr), eps = A(a.eps), decay = A(a.weight_decay), grad_scale = A(a.grad_scale);
  parallel_for(ceil_div(a.grad.size, kElementsPerTask), [&](int64_t task) {
    const int64_t first = task * kElementsPerTask;
    each_vector<A>(std::min(kElementsPerTask, a.grad.size - first), [&](int64_t offset, auto n) {
      const int64_t i = first + offset;
      const Simd<A> g = load(a.grad.data + i, n) * grad_scale;
      const Simd<A> m = flush_tiny<A>(load(a.m.data + i, n) * beta1 + g * rest1);
      const Simd<A> v = flush_tiny<A>(load(a.v.data + i, n) * beta2 + g * g * rest2);
      const Simd<A> p = load(a.master.data + i, n);
      const Simd<A> step = m * unbias_m / (sqrt<A>(v) * unbias_root_v + eps);
      const Simd<A> updated = p - lr * (step + decay * p);
      store(a.m.data + i, m, n);
      store(a.v.data + i, v, n);
      store(a.master.data + i, updated, n);
      if (a.param) store(a.param.data + i, updated, n);
    });
  });
}

template void adamw(Stream, const AdamW<float>&);
template void adamw(Stream, const AdamW<double>&);

}  // namespace saslm::cpu
