// For tests of attention's kernels: a call with all its tensors on both sides, a kernel's and
// cpu::attention_*<double>'s, and how far the two may differ.
//
// Bounds, element by element, with u = kEpsilon<T>. Both sides start from the same rounded numbers; products
// of bf16 are exact in float. A kernel in bf16 rounds the weights of its second products, p and ds, and the
// result: every sum of terms t may be off by u sum|t| + u |result|. What float arithmetic adds is the same in
// both kernels: with f = kEpsilon<float> and S the largest sum |scale q k| of any score, a score is off by (E
// + 2) f S and so, as lse carries the like, p by a factor of 1 + r, r = (2 (E + 3) S + 2 keys + 16) f, exp2
// included; a further sum of n terms by n f sum|t|.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "simt/twin.h"

namespace saslm::attention_tests {

struct Shape {
  int64_t B = 1, T = 1, start = 0, H = 1, Hp = 1, Gk = 1, Gv = 1, v_modulo = 0, E = 8, D = 8;
  enum Layout { BTHD, BHTD, fused } layout = BTHD;  // fused: q, k and v of a token side by side, E = D
  int64_t window = 0;                               // 0: none
  int64_t documents = 0;  // the mask is given by positions: documents about so long; 0: it is not

  int64_t keys() const { return start + T; }
  int64_t k_head(int64_t h) const { return h / (H / Gk); }
  int64_t v_head(int64_t h) const { return v_modulo ? h % v_modulo / (v_modulo / Gv) : h / (H / Gv); }
  double scale() const { return 1 / std::sqrt(double(E)); }
  // The first key that position i of sequence b sees.
  int64_t first(int64_t b, int64_t i) const {
    int64_t first = window > 0 && i >= window ? i - window + 1 : 0;
    if (documents > 0)
      for (int64_t begin = 0, n = b; begin <= i; ++n) {
        first = std::max(first, begin);
        begin += 1 + (n * 7 + 18 * documents - 9) % (2 * documents);
      }
    return first;
  }
  std::string name() const {
    std::string text;
    for (int64_t x : {B, T, start, H, Hp, Gk, Gv, v_modulo, E, D, int64_t(layout), window, documents})
      text += " " + std::to_string(x);
    return "B T start H Hp Gk Gv v_modulo E D layout window documents =" + text;
  }
};

// One tensor (B, T, H, D) of both sides, and the bound of each of its elements when it is a result.
template <class T>
struct Tensor {
  Twin<T> twin;
  std::vector<double> bound;
  Shape::Layout layout;
  int64_t B, time, H, D;

  Tensor(Shape::Layout how, int64_t b, int64_t t, int64_t h, int64_t d)
      : twin(b * t * h * d), bound(size_t(b * t * h * d), 0), layout(how), B(b), time(t), H(h), D(d) {}

  template <class X>
  Heads<X> view(X* data) const {
    return layout == Shape::BHTD ? heads_BHTD(data, B, time, H, D) : heads_BTHD(data, B, time, H, D);
  }
  template <class S>
  Heads<S> heads() {
    return view(twin.template data<S>());
  }
  // `count` heads from the first one on.
  template <class S>
  Heads<S> heads(int64_t first, int64_t count) {
    Heads<S> all = heads<S>();
    all.data += first * all.h_stride, all.H = count;
    return all;
  }
  Heads<double> bounds(int64_t first, int64_t count) {
    Heads<double> all = view(bound.data());
    all.data += first * all.h_stride, all.H = count;
    return all;
  }
  void expect_within(const char* name) {
    TwinLog log(name, Twin<T>::kTypeName);
    for (int64_t i = 0; i < twin.size(); ++i) {
      const double got = double(float(twin[i])), want = twin.twin(i);
      const double allowed = bound[size_t(i)] + kEpsilon<T> * (std::abs(want) + bound[size_t(i)]);
      log.add(std::abs(got - want), allowed);
      ASSERT_LE(std::abs(got - want), allowed) << name << "[" << i << "]: got " << got << ", want " << want;
    }
  }
};

template <class T>
struct Case {
  Shape s;
  bool one;  // q, k and v are views of one tensor
  Tensor<T> q, k, v, dq, dk, dv, dy, o, y;
  Tensor<float> lse;
  Twin<float> scratch;
  Twin<int32_t> first_of, last_of;

  explicit Case(const Shape& shape)
      : s(shape),
        one(s.layout == Shape::fused),
        q(s.layout, s.B, s.T, one ? s.H + s.Gk + s.Gv : s.H, s.E),
        k(s.layout, s.B, one ? 1 : s.keys(), s.Gk, s.E),
        v(s.layout, s.B, one ? 1 : s.keys(), s.Gv, s.D),
        dq(s.layout, s.B, s.T, q.H, s.E),
        dk(s.layout, s.B, k.time, s.Gk, s.E),
        dv(s.layout, s.B, v.time, s.Gv, s.D),
        dy(Shape::BTHD, s.B, s.T, s.Hp, s.D),
        o(s.layout, s.B, s.T, s.H, s.D),
        y(Shape::BTHD, s.B, s.T, s.Hp, s.D),
        lse(Shape::BHTD, s.B, s.T, s.H, 1),
        scratch(attention_bwd_scratch<T>({.B = s.B,
                                          .T = s.T,
                                          .H = s.H,
                                          .Gk = s.Gk,
                                          .Gv = s.Gv,
                                          .v_modulo = s.v_modulo,
                                          .E = s.E,
                                          .D = s.D})),
        first_of(s.B * s.keys()),
        last_of(s.B * s.keys()) {
    q.twin.draw(1, 1.5), k.twin.draw(2, 1.5), v.twin.draw(3), dy.twin.draw(4);
    for (int64_t n = 0; n < s.B * s.keys(); ++n) {
      const int64_t b = n / s.keys(), at = n % s.keys();
      int64_t last = at;
      while (last + 1 < s.keys() && s.first(b, last + 1) <= at) ++last;
      first_of[n] = int32_t(s.first(b, at)), last_of[n] = int32_t(last);
    }
  }

  AttentionMask mask() {
    AttentionMask mask;
    if (s.window > 0) mask.window = int(s.window);
    if (s.documents > 0)
      mask.first_of = first_of.template mat<int32_t>(s.B, s.keys()),
      mask.last_of = last_of.template mat<int32_t>(s.B, s.keys());
    return mask;
  }

  template <class S>
  Heads<S> K(Tensor<T>& fused, Tensor<T>& own) {
    return one ? fused.template heads<S>(s.H, s.Gk) : own.template heads<S>();
  }
  template <class S>
  Heads<S> V(Tensor<T>& fused, Tensor<T>& own) {
    return one ? fused.template heads<S>(s.H + s.Gk, s.Gv) : own.template heads<S>();
  }

  template <class S>
  AttentionFwd<S> fwd() {
    return {.o = o.template heads<S>(),
            .lse = lse.twin.template vec<Accum<S>>(),
            .y = s.Hp < s.H ? y.template heads<S>() : Heads<S>{},
            .q = q.template heads<S>(0, s.H),
            .k = K<S>(q, k),
            .v = V<S>(q, v),
            .v_modulo = s.v_modulo,
            .start = s.start,
            .scale = s.scale(),
            .mask = mask()};
  }
  template <class S>
  AttentionBwd<S> bwd() {
    const auto gradients = [&]<class X>(X) -> Vec<X> {
      if constexpr (std::is_same_v<X, double>)
        return {};
      else
        return scratch.template vec<X>();
    };
    return {.dq = dq.template heads<S>(0, s.H),
            .dk = K<S>(dq, dk),
            .dv = V<S>(dq, dv),
            .dy = dy.template heads<S>(),
            .q = q.template heads<S>(0, s.H),
            .k = K<S>(q, k),
            .v = V<S>(q, v),
            .o = o.template heads<S>(),
            .lse = lse.twin.template vec<Accum<S>>(),
            .scratch = gradients(Accum<S>()),
            .v_modulo = s.v_modulo,
            .scale = s.scale(),
            .mask = mask()};
  }

  void poison() {
    for (Twin<T>* x : {&dq.twin, &dk.twin, &dv.twin, &o.twin, &y.twin}) x->poison();
    lse.twin.poison(), scratch.poison();
  }
  // Sets the bounds, from sums of the absolute values of all terms.
  void bound();
};

template <class T>
void Case<T>::bound() {
  const double f = kEpsilon<float>, u = std::is_same_v<T, float> ? 0 : kEpsilon<T>,
               share = double(s.Hp) / double(s.H);
  const Heads<double> qs = q.template heads<double>(0, s.H), ks = K<double>(q, k), vs = V<double>(q, v),
                      dys = dy.template heads<double>(), os = o.template heads<double>();
  const Heads<double> ob = o.bounds(0, s.H), yb = y.bounds(0, s.Hp), dqb = dq.bounds(0, s.H),
                      dkb = one ? dq.bounds(s.H, s.Gk) : dk.bounds(0, s.Gk),
                      dvb = one ? dq.bounds(s.H + s.Gk, s.Gv) : dv.bounds(0, s.Gv),
                      ls = lse.template heads<double>(), lb = lse.bounds(0, s.H);
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t h = 0; h < s.H; ++h)
      for (int64_t i = 0; i < s.T; ++i) {
        const int64_t g = s.k_head(h), w = s.v_head(h), seen = s.start + i + 1;
        const int64_t from = s.first(b, s.start + i);
        std::vector<double> scores(size_t(seen), 0);
        double S = 0, delta = 0, deltas = 0;
        for (int64_t j = from; j < seen; ++j) {
          double sizes = 0;
          for (int64_t e = 0; e < s.E; ++e) {
            const double term = s.scale() * qs.at(b, i, h)[e] * ks.at(b, j, g)[e];
            scores[size_t(j)] += term, sizes += std::abs(term);
          }
          S = std::max(S, sizes);
        }
        const double r = (2 * double(s.E + 3) * S + 2 * double(s.keys()) + 16) * f;
        *lb.at(b, i, h) = r;
        for (int64_t d = 0; d < s.D; ++d) {
          const double term = share * dys.at(b, i, h % s.Hp)[d] * os.at(b, i, h)[d];
          delta += term, deltas += std::abs(term);
        }
        for (int64_t j = from; j < seen; ++j) {
          const double p = std::exp(scores[size_t(j)] - *ls.at(b, i, h));
          double dp = 0, dps = 0;
          for (int64_t d = 0; d < s.D; ++d) {
            const double value = vs.at(b, j, w)[d], grad = share * dys.at(b, i, h % s.Hp)[d];
            dp += value * grad, dps += std::abs(value * grad);
            ob.at(b, i, h)[d] += (u + r + double(seen) * f) * p * std::abs(value);
            dvb.at(b, j, w)[d] += (u + r + double(s.T * s.H) * f) * p * std::abs(grad);
          }
          const double ds = s.scale() * p * std::abs(dp - delta);
          const double off =
              (u + r + double(s.T * s.H) * f) * ds + s.scale() * p * double(s.D + 4) * f * (dps + deltas);
          for (int64_t e = 0; e < s.E; ++e) {
            dqb.at(b, i, h)[e] += off * std::abs(ks.at(b, j, g)[e]);
            dkb.at(b, j, g)[e] += off * std::abs(qs.at(b, i, h)[e]);
          }
        }
        for (int64_t d = 0; d < s.D; ++d)
          yb.at(b, i, h % s.Hp)[d] +=
              share * (ob.at(b, i, h)[d] + (2 * u + double(s.H) * f) * std::abs(os.at(b, i, h)[d]));
      }
}

// Adds the bits of a kernel's result, to compare schedules.
template <class T>
void append_bits(std::vector<uint32_t>& bits, Twin<T>& x) {
  for (int64_t i = 0; i < x.size(); ++i)
    bits.push_back(std::bit_cast<std::conditional_t<sizeof(T) == 2, uint16_t, uint32_t>>(x[i]));
}

}  // namespace saslm::attention_tests
