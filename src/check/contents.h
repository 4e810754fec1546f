// Special contents of a call's inputs, where random numbers of mean 0 and deviation 1 are unsuitable.
#pragma once
#include "check/image.h"

namespace saslm {

template <class Args>
Contents contents_of(const Args&, const std::vector<CallView>& views) {
  return [&views](size_t view, int64_t row, int64_t h, int64_t d) {
    const CallView& v = views[view];
    return drawn(v.use, view, (row * v.H + h) * v.D + d);
  };
}

// Each token chooses k distinct heads.
template <class T>
Contents contents_of(const HeadGatesBwd<T>& a, const std::vector<CallView>& views) {
  const int64_t routed = a.x.H - a.routing.n_shared;
  const std::byte* const chosen = reinterpret_cast<const std::byte*>(a.chosen.data);
  return [&views, routed, chosen](size_t view, int64_t row, int64_t h, int64_t d) {
    const CallView& v = views[view];
    if (v.begin == chosen) return double((int64_t(drawn({.below = routed}, view, row)) + d) % routed);
    return drawn(v.use, view, (row * v.H + h) * v.D + d);
  };
}

// Pad columns may hold anything: NaN, which shows wherever they are read.
template <class T>
Contents contents_of(const CrossEntropy<T>& a, const std::vector<CallView>& views) {
  const std::byte* const logits = reinterpret_cast<const std::byte*>(a.logits.data);
  return [&views, logits, vocab = a.vocab()](size_t view, int64_t row, int64_t h, int64_t d) {
    const CallView& v = views[view];
    if (v.begin == logits && d >= vocab) return double(NAN);
    return drawn(v.use, view, (row * v.H + h) * v.D + d);
  };
}

// Near z = 0 the derivative of relu(z) jumps, and two correct kernels that round differently disagree. To
// avoid values near 0 but have both signs, Z1 and Z2 are about +1.5 or -1.5 by token and channel (at least
// half of that at the ends of a row, where a convolution has fewer taps), and Z3 about +4 or -4 by token,
// channel and feature.
class SasContents {
 public:
  SasContents(const SasShape& s, const std::vector<CallView>& views, size_t x, size_t weights)
      : s_(s), views_(&views), x_(x), w_(weights) {}

  double operator()(size_t view, int64_t row, int64_t h, int64_t d) const {
    const CallView& v = (*views_)[view];
    const double noise = drawn(v.use, view, (row * v.H + h) * v.D + d);
    if (view == x_) return sign(view, s_.convs ? row : row * v.H + h) + 0.25 * noise;
    if (view < w_ || view >= w_ + 8) return noise;
    const double taps = double(s_.K), H = double(s_.H), Hs = double(s_.Hs), D = double(s_.D);
    switch (view - w_) {
      case 0:
        return 1.5 * sign(view, row) / (H * taps) + 0.05 * noise / std::sqrt(H * taps);
      case 1:
        return 0.15 * noise / std::sqrt(Hs * taps);
      case 2:
        return 3 * sign(view, row) / D + 0.1 * noise / std::sqrt(D);
      case 3:
        return 0.3 * noise / std::sqrt(double(s_.E));
      default:
        return 0.05 * noise;  // biases
    }
  }

 private:
  static double sign(size_t view, int64_t i) { return drawn({}, view, ~i) > 0 ? 1 : -1; }

  SasShape s_;
  const std::vector<CallView>* views_;
  size_t x_, w_;  // the views of x and of the first weight: describe.h
};
template <class T>
Contents contents_of(const SasFwd<T>& a, const std::vector<CallView>& views) {
  return SasContents(sas_shape(a.x, a.y, a.w), views, 1, 2);
}
template <class T>
Contents contents_of(const SasBwd<T>& a, const std::vector<CallView>& views) {
  return SasContents(sas_shape(a.x, a.dy, a.w), views, 10, 11);
}

}  // namespace saslm
