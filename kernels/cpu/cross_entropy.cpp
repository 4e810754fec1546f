// Contract: kernels/cross_entropy.h. One row per task. A row (200 KB at 50k tokens) stays in L2 between the
// passes, so memory sees one read and one write, and each exponential is taken once: it is kept in the
// gradient's place until the row's sum is known.
#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace saslm::cpu {

namespace {

constexpr int64_t kChunk = 4096;  // logits summed in T before the sum goes on in double

struct RowMax {
  double max;
  double defect;  // 0, or NaN when some logit is not finite
};

template <class T>
RowMax row_max(const T* z, int64_t V) {
  Simd<T> best = splat(z[0]), defect{};
  each_vector<T>(V, [&](int64_t v, auto n) {
    const Simd<T> x = load(z + v, n, z[0]);
    best = max<T>(x, best);
    defect += x - x;
  });
  return {double(lane_max<T>(best)), double(lane_sum<T>(defect))};
}

// Sum of e^(z - max); with `keep` the terms replace the logits.
template <class T, bool keep>
double exp_sum(T* z, int64_t V, T max) {
  double total = 0;
  for (int64_t first = 0; first < V; first += kChunk) {
    T* const chunk = z + first;
    Simd<T> sum{};
    each_vector<T>(std::min(kChunk, V - first), [&](int64_t v, auto n) {
      const Simd<T> e = exp(load(chunk + v, n, -std::numeric_limits<T>::infinity()) - max);
      if constexpr (keep) store(chunk + v, e, n);
      sum += e;
    });
    total += double(lane_sum<T>(sum));
  }
  return total;
}

template <class T>
void row(const CrossEntropy<T>& a, int64_t n) {
  const int64_t V = a.vocab();
  T* const z = a.logits[n];
  T& at_target = z[a.targets[n]];
  const double target_logit = double(at_target);
  const RowMax top = row_max(z, V);
  const double sum = a.scale != 0 ? exp_sum<T, true>(z, V, T(top.max)) : exp_sum<T, false>(z, V, T(top.max));
  a.loss[n] = Accum<T>(std::log(sum) + (top.max - target_logit) + top.defect);
  if (a.scale == 0) return;
  const T factor = T(a.scale / sum);
  each_vector<T>(V, [&](int64_t v, auto count) { store(z + v, load(z + v, count) * factor, count); });
  at_target -= T(a.scale);
  std::fill(z + V, z + a.logits.cols, T(0));
}

}  // namespace

template <class T>
void cross_entropy(Stream, const CrossEntropy<T>& a) {
  a.check();
  parallel_for(a.logits.rows, [&](int64_t n) { row(a, n); });
}

template void cross_entropy(Stream, const CrossEntropy<float>&);
template void cross_entropy(Stream, const CrossEntropy<double>&);

}  // namespace saslm::cpu
