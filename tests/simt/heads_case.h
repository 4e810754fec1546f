// For tests of kernels over heads: a tensor (B, T, H, D) in one of the layouts that the contracts allow.
#pragma once
#include "simt/views.h"

namespace saslm {

struct Layout {
  bool heads_first = false;  // [B, H, T, D] rather than [B, T, H, D]
  int64_t gap = 0;           // elements between rows of D
  int64_t first = 0;         // elements before the first row
};

template <class T>
struct HeadsTwin {
  int64_t B, T_, H, D, row;
  Layout layout;
  Twin<T> twin;

  HeadsTwin(int64_t b, int64_t t, int64_t h, int64_t d, const Layout& l)
      : B(b), T_(t), H(h), D(d), row(d + l.gap), layout(l), twin(l.first + b * t * h * row) {
    twin.fill(0);  // the gaps
    each([&](int64_t i) { twin.set(i, NAN); });
  }
  HeadsTwin& draw(unsigned seed, double deviation = 1) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal(0, deviation);
    each([&](int64_t i) { twin.set(i, normal(random)); });
    return *this;
  }
  // NaN on the kernel's side alone.
  void poison() {
    each([&](int64_t i) { twin[i] = T(NAN); });
  }
  template <class S>
  Heads<S> view() {
    S* const data = twin.template data<S>() + layout.first;
    if (layout.heads_first) return {data, B, T_, H, D, H * T_ * row, row, T_ * row};
    return {data, B, T_, H, D, T_ * H * row, H * row, row};
  }
  void expect_near(double relative, const char* name) const { twin.expect_near(relative, name); }

 private:
  template <class F>
  void each(F f) {
    for (int64_t r = 0; r < B * T_ * H; ++r)
      for (int64_t d = 0; d < D; ++d) f(layout.first + r * row + d);
  }
};

// Layouts that are read by packs, contiguous and with gaps; and, for each reason, one that is read element by
// element.
inline const std::vector<Layout> kLayouts = {
    {}, {.heads_first = true}, {.gap = 8}, {.gap = 3, .first = 1}, {.heads_first = true, .first = 2}};

}  // namespace saslm
