// Contract: kernels/rope.h.
#include "kernels/rope.h"

#include <algorithm>
#include <cmath>

#include "core/dims.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace saslm::cpu {

namespace {

constexpr int64_t kPositionsPerTask = 16;  // of one sequence, all heads: the table's rows stay in L1

template <class T>
void rotate(T* x, const T* cos, const T* sin, int64_t half, T direction) {
  each_vector<T>(half, [&](int64_t i, auto n) {
    const Simd<T> low = load(x + i, n), high = load(x + half + i, n);
    const Simd<T> c = load(cos + i, n), s = load(sin + i, n) * direction;
    store(x + i, low * c - high * s, n);
    store(x + half + i, low * s + high * c, n);
  });
}

}  // namespace

template <class T>
void rope_fill(Stream, const RopeFill<T>& a) {
  a.check();
  const int64_t half = a.table.cos.cols;
  parallel_for(a.table.cos.rows, [&](int64_t t) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = double(t) * std::pow(a.base, -double(i) / double(half));
      a.table.cos[t][i] = T(std::cos(angle));
      a.table.sin[t][i] = T(std::sin(angle));
    }
  });
}

template <class T>
void rope(Stream, const Rope<T>& a) {
  a.check();
  const int64_t chunks = ceil_div(a.x.T, kPositionsPerTask);
  parallel_for(a.x.B * chunks, [&](int64_t task) {
    const int64_t b = task / chunks, first = task % chunks * kPositionsPerTask;
    const int64_t end = std::min(a.x.T, first + kPositionsPerTask);
    for (int64_t t = first; t < end; ++t)
      for (int64_t h = 0; h < a.x.H; ++h)
        rotate(a.x.at(b, t, h), a.table.cos[a.start + t], a.table.sin[a.start + t], a.x.D / 2,
               T(a.inverse ? -1 : 1));
  });
}

template void rope_fill(Stream, const RopeFill<float>&);
template void rope_fill(Stream, const RopeFill<double>&);
template void rope(Stream, const Rope<float>&);
template void rope(Stream, const Rope<double>&);

}  // namespace saslm::cpu
