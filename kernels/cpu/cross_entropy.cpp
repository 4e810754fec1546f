// Contract: kernels/cross_entropy.h. One row per task. A row (200 KB at 50k tokens) stays in L2 between the
// passes, so memory sees one read and one write, and each exponential is taken once: it is kept in the
// gradient's place until the row's sum is known. Under a soft cap the logit itself is still needed then, for
// the slope, and is kept: capped logits and their exponentials are taken twice.
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

// What a logit counts as.
template <class T>
struct Uncapped {
  static constexpr bool kCaps = false;
  Simd<T> operator()(Simd<T> z) const { return z; }
  Simd<T> slope(Simd<T>) const { return splat(T(1)); }
};
template <class T>
struct SoftCapped {
  static constexpr bool kCaps = true;
  T cap, inverse;
  Simd<T> share(Simd<T> z) const { return tanh(z * inverse); }  // of the cap, -1 to 1
  Simd<T> operator()(Simd<T> z) const { return cap * share(z); }
  Simd<T> slope(Simd<T> z) const { return T(1) - share(z) * share(z); }
};

// Sum of e^(s - max), s the logits as they count; with `keep` the terms replace the logits.
template <class T, bool keep, class Cap>
double exp_sum(T* z, int64_t V, T max, const Cap& cap) {
  constexpr T kNone = -std::numeric_limits<T>::infinity();
  double total = 0;
  for (int64_t first = 0; first < V; first += kChunk) {
    T* const chunk = z + first;
    Simd<T> sum{};
    each_vector<T>(std::min(kChunk, V - first), [&](int64_t v, auto n) {
      Simd<T> s = cap(load(chunk + v, n, kNone));
      if (Cap::kCaps && n < kLanes<T>)  // there is no logit: no cap lifts it
        for (int64_t lane = n; lane < kLanes<T>; ++lane) s[lane] = kNone;
      const Simd<T> e = exp(s - max);
      if constexpr (keep) store(chunk + v, e, n);
      sum += e;
    });
    total += double(lane_sum<T>(sum));
  }
  return total;
}

// All of a row's gradients but what the target takes away, = from the exponentials, or from the logits.
template <class T>
void make_gradients(T* z, int64_t V, T, T factor, const Uncapped<T>&) {
  each_vector<T>(V, [&](int64_t v, auto n) { store(z + v, load(z + v, n) * factor, n); });
}
template <class T>
void make_gradients(T* z, int64_t V, T max, T factor, const SoftCapped<T>& cap) {
  each_vector<T>(V, [&](int64_t v, auto n) {
    const Simd<T> share = cap.share(load(z + v, n));
    store(z + v, exp(cap.cap * share - max) * factor * (T(1) - share * share), n);
  });
}

template <class T, class Cap>
void row(const CrossEntropy<T>& a, int64_t n, const Cap& cap) {
  const int64_t V = a.vocab();
  T* const z = a.logits[n];
  T& at_target = z[a.targets[n]];
  const Simd<T> target_logit = splat(at_target);
  const RowMax top = row_max(z, V);  // no cap changes which is the largest
  const T max = cap(splat(T(top.max)))[0];
  const double sum =
      a.scale != 0 ? exp_sum<T, !Cap::kCaps>(z, V, max, cap) : exp_sum<T, false>(z, V, max, cap);
  a.loss[n] = Accum<T>(std::log(sum) + (double(max) - double(cap(target_logit)[0])) + top.defect);
  const double lse = std::log(sum) + double(max) + top.defect;
  if (a.z_weight != 0) a.aux_loss[n] += Accum<T>(a.z_weight * lse * lse);
  if (a.scale == 0) return;
  const double probabilities = a.z_weight != 0 ? a.scale * (1 + 2 * a.z_weight * lse) : a.scale;
  make_gradients(z, V, max, T(probabilities / sum), cap);
  at_target -= T(a.scale) * cap.slope(target_logit)[0];
  std::fill(z + V, z + a.logits.cols, T(0));
}

}  // namespace

template <class T>
void cross_entropy(Stream, const CrossEntropy<T>& a) {
  a.check();
  parallel_for(a.logits.rows, [&](int64_t n) {
    if (a.softcap == 0)
      row(a, n, Uncapped<T>{});
    else
      row(a, n, SoftCapped<T>{T(a.softcap), T(1 / a.softcap)});
  });
}

template void cross_entropy(Stream, const CrossEntropy<float>&);
template void cross_entropy(Stream, const CrossEntropy<double>&);

}  // namespace saslm::cpu
