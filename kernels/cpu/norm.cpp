// Contract: kernels/norm.h. A row is read from memory once and stays in cache for its second pass; the
// backward keeps a chunk's dw and db in cache across its rows.
#include "kernels/norm.h"

#include <algorithm>
#include <cmath>

#include "core/dims.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace saslm::cpu {

namespace {

constexpr int64_t kRowsPerTask = 16;

template <class T>
T row_mean(const T* x, int64_t C) {
  Simd<T> sum{};
  each_vector<T>(C, [&](int64_t c, auto n) { sum += load(x + c, n); });
  return lane_sum<T>(sum) / T(C);
}

// Mean of (x - mean)^2: in two passes, because mean(x^2) - mean^2 cancels.
template <class T>
T row_mean_square(const T* x, int64_t C, T mean) {
  Simd<T> sum{};
  each_vector<T>(C, [&](int64_t c, auto n) {
    const Simd<T> d = load(x + c, n, mean) - mean;
    sum += d * d;
  });
  return lane_sum<T>(sum) / T(C);
}

template <class T>
void norm_row(const NormFwd<T>& a, int64_t row) {
  const int64_t C = a.x.cols;
  const T* const x = a.x[row];
  T* const y = a.y[row];
  const T mean = a.mean ? row_mean(x, C) : T(0);
  const T r = 1 / std::sqrt(row_mean_square(x, C, mean) + T(a.eps));
  each_vector<T>(C, [&](int64_t c, auto n) {
    const Simd<T> scaled = (load(x + c, n) - mean) * r * load(a.w.data + c, n);
    store(y + c, a.b ? scaled + load(a.b.data + c, n) : scaled, n);
  });
  a.rstd[row] = r;
  if (a.mean) a.mean[row] = mean;
}

// With h = (x - m) r, the normalised row, and g = w dy:
//   dx += r (g - h mean(g h) [- mean(g)])          dw += dy h          db += dy
// where [] is the mean's share, layernorm only.
template <class T>
void norm_bwd_row(const NormBwd<T>& a, int64_t row, T* dw, T* db) {
  const int64_t C = a.x.cols;
  const T *const x = a.x[row], *const dy = a.dy[row];
  const T r = a.rstd[row], mean = a.mean ? a.mean[row] : T(0);
  Simd<T> sum_g{}, sum_gh{};
  each_vector<T>(C, [&](int64_t c, auto n) {
    const Simd<T> dy_c = load(dy + c, n), h = (load(x + c, n) - mean) * r;
    const Simd<T> g = dy_c * load(a.w.data + c, n);
    sum_g += g;
    sum_gh += g * h;
    store(dw + c, load(dw + c, n) + dy_c * h, n);
    if (a.db) store(db + c, load(db + c, n) + dy_c, n);
  });
  const T mean_g = a.mean ? lane_sum<T>(sum_g) / T(C) : T(0), mean_gh = lane_sum<T>(sum_gh) / T(C);
  T* const dx = a.dx[row];
  each_vector<T>(C, [&](int64_t c, auto n) {
    const Simd<T> g = load(dy + c, n) * load(a.w.data + c, n), h = (load(x + c, n) - mean) * r;
    store(dx + c, load(dx + c, n) + r * (g - h * mean_gh - mean_g), n);
  });
}

// total += sum of the partials' columns from `first` on, partial 0 first.
template <class T>
void add_partials(Vec<T> total, const Mat<T>& partial, int64_t first) {
  for (int64_t p = 0; p < partial.rows; ++p)
    each_vector<T>(total.size, [&](int64_t c, auto n) {
      store(total.data + c, load(total.data + c, n) + load(partial[p] + first + c, n), n);
    });
}

}  // namespace

template <class T>
void norm_fwd(Stream, const NormFwd<T>& a) {
  a.check();
  parallel_for(ceil_div(a.x.rows, kRowsPerTask), [&](int64_t task) {
    const int64_t end = std::min(a.x.rows, (task + 1) * kRowsPerTask);
    for (int64_t row = task * kRowsPerTask; row < end; ++row) norm_row(a, row);
  });
}

template <class T>
void norm_bwd(Stream, const NormBwd<T>& a) {
  a.check();
  const int64_t C = a.x.cols, chunks = a.partial.rows;
  parallel_for(chunks, [&](int64_t chunk) {
    T *const dw = a.partial[chunk], *const db = dw + C;
    std::fill(dw, dw + (a.db ? 2 * C : C), T(0));
    const int64_t end = (chunk + 1) * a.x.rows / chunks;
    for (int64_t row = chunk * a.x.rows / chunks; row < end; ++row) norm_bwd_row(a, row, dw, db);
  });
  add_partials(a.dw, a.partial, 0);
  if (a.db) add_partials(a.db, a.partial, C);
}

template void norm_fwd(Stream, const NormFwd<float>&);
template void norm_fwd(Stream, const NormFwd<double>&);
template void norm_bwd(Stream, const NormBwd<float>&);
template void norm_bwd(Stream, const NormBwd<double>&);

}  // namespace saslm::cpu
