// For tests of attention on a CPU: a call with all its tensors, and the definition in double with bounds.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "tests/support.h"

namespace saslm::attention_tests {

using test::Buffer;

struct Shape {
  int64_t B = 1, T = 1, start = 0, H = 1, Hp = 1, Gk = 1, Gv = 1, v_modulo = 0, E = 1, D = 1;
  bool heads_first = false;  // (B, H, T, D) in memory rather than (B, T, H, D)
  int64_t gap = 0;           // elements between rows
  int64_t window = 0;        // 0: none
  int64_t documents = 0;     // about so long, of other lengths in each sequence; 0: none

  int64_t keys() const { return start + T; }
  int64_t k_head(int64_t h) const { return h / (H / Gk); }
  int64_t v_head(int64_t h) const { return v_modulo ? h % v_modulo / (v_modulo / Gv) : h / (H / Gv); }
  double scale() const { return 1 / std::sqrt(double(E)); }
  // The first key that position i of sequence b sees.
  int64_t first(int64_t b, int64_t i) const {
    int64_t first = window > 0 && i >= window ? i - window + 1 : 0;
    if (documents > 0)
      for (int64_t begin = 0, n = b; begin <= i;
           begin += 1 + (n * 7 + 18 * documents - 9) % (2 * documents), ++n)
        first = std::max(first, begin);
    return first;
  }
  std::string name() const {
    std::string text;
    for (int64_t x : {B, T, start, H, Hp, Gk, Gv, v_modulo, E, D, window, documents})
      text += " " + std::to_string(x);
    return "B T start H Hp Gk Gv v_modulo E D window documents =" + text;
  }
};

// One for each path and border: a vector has 16 (8) lanes, a block 64 rows; up to 3 queries take the path
// without blocks.
inline const std::vector<Shape> kShapes = {
    {},
    {.B = 2, .T = 3, .H = 2, .Hp = 2, .Gk = 2, .Gv = 2, .E = 16, .D = 16},
    {.B = 2, .T = 5, .H = 3, .Hp = 3, .Gk = 3, .Gv = 3, .E = 7, .D = 5, .gap = 3},
    {.B = 1, .T = 63, .H = 2, .Hp = 1, .Gk = 2, .Gv = 2, .E = 17, .D = 33, .heads_first = true},
    {.B = 1, .T = 64, .H = 2, .Hp = 2, .Gk = 2, .Gv = 2, .E = 32, .D = 16},
    {.B = 2, .T = 65, .H = 6, .Hp = 2, .Gk = 6, .Gv = 6, .E = 96, .D = 64},
    {.B = 1, .T = 200, .H = 2, .Hp = 2, .Gk = 2, .Gv = 2, .E = 20, .D = 48, .heads_first = true, .gap = 1},
    {.B = 2, .T = 131, .H = 6, .Hp = 6, .Gk = 2, .Gv = 2, .E = 24, .D = 8},                 // gqa
    {.B = 1, .T = 77, .H = 5, .Hp = 5, .Gk = 1, .Gv = 1, .E = 9, .D = 64},                  // mqa, sliced
    {.B = 3, .T = 40, .H = 23, .Hp = 23, .Gk = 1, .Gv = 1, .E = 8, .D = 8},                 // unequal slices
    {.B = 1, .T = 70, .H = 9, .Hp = 3, .Gk = 9, .Gv = 3, .v_modulo = 3, .E = 12, .D = 10},  // sas without
                                                                                            // values
    {.B = 1, .T = 70, .H = 12, .Hp = 4, .Gk = 12, .Gv = 2, .v_modulo = 4, .E = 5, .D = 6},  // the same over
                                                                                            // gqa
    {.B = 1, .T = 30, .H = 8, .Hp = 8, .Gk = 4, .Gv = 2, .v_modulo = 4, .E = 4, .D = 3},
    {.B = 2, .T = 30, .H = 8, .Hp = 2, .Gk = 2, .Gv = 2, .v_modulo = 2, .E = 4, .D = 3},  // k groups cross
                                                                                          // v_modulo
    {.B = 1, .T = 30, .H = 12, .Hp = 12, .Gk = 4, .Gv = 6, .E = 4, .D = 3},
};
inline const std::vector<Shape> kCachedShapes = {
    {.B = 2, .T = 1, .start = 99, .H = 6, .Hp = 2, .Gk = 6, .Gv = 6, .E = 20, .D = 40},
    {.B = 1,
     .T = 3,
     .start = 15,
     .H = 4,
     .Hp = 4,
     .Gk = 1,
     .Gv = 1,
     .E = 16,
     .D = 7,
     .heads_first = true,
     .gap = 2},
    {.B = 1, .T = 5, .start = 61, .H = 2, .Hp = 2, .Gk = 2, .Gv = 2, .E = 3, .D = 16},
    {.B = 1, .T = 90, .start = 70, .H = 4, .Hp = 4, .Gk = 2, .Gv = 2, .E = 8, .D = 8, .gap = 5},
};

// A strip is 16 (8) queries wide: windows end within a strip, at its border, and tiles away; documents end
// anywhere.
inline const std::vector<Shape> kMaskedShapes = {
    {.B = 2, .T = 3, .H = 2, .Hp = 2, .Gk = 2, .Gv = 2, .E = 4, .D = 4, .window = 2},
    {.B = 1, .T = 150, .E = 8, .D = 8, .window = 1},
    {.B = 1, .T = 150, .E = 8, .D = 8, .window = 2},
    {.B = 2, .T = 150, .H = 6, .Hp = 6, .Gk = 2, .Gv = 2, .E = 24, .D = 8, .window = 16},  // gqa
    {.B = 1, .T = 200, .H = 2, .Hp = 1, .Gk = 2, .Gv = 2, .E = 20, .D = 48, .gap = 1, .window = 17},
    {.B = 1, .T = 200, .H = 2, .Hp = 2, .E = 9, .D = 33, .heads_first = true, .window = 63},
    {.B = 1, .T = 260, .E = 8, .D = 8, .window = 64},
    {.B = 1, .T = 260, .H = 2, .Hp = 2, .E = 8, .D = 8, .window = 65},
    {.B = 1, .T = 260, .H = 9, .Hp = 3, .Gk = 9, .Gv = 3, .v_modulo = 3, .E = 12, .D = 10, .window = 128},
    {.B = 1, .T = 260, .E = 8, .D = 8, .window = 81},  // a strip begins where its neighbour goes on
    {.B = 1, .T = 131, .E = 8, .D = 8, .window = 131},
    {.B = 1, .T = 131, .E = 8, .D = 8, .window = 1000},
    {.B = 3, .T = 150, .H = 2, .Hp = 2, .E = 8, .D = 8, .documents = 20},
    {.B = 2, .T = 260, .H = 2, .Hp = 1, .E = 8, .D = 8, .documents = 100},
    {.B = 2, .T = 260, .H = 4, .Hp = 4, .Gk = 2, .Gv = 2, .E = 8, .D = 8, .window = 40, .documents = 100},
};
inline const std::vector<Shape> kMaskedCachedShapes = {
    {.B = 2, .T = 1, .start = 99, .H = 6, .Hp = 2, .Gk = 6, .Gv = 6, .E = 20, .D = 40, .window = 33},
    {.T = 3, .start = 15, .H = 2, .Hp = 2, .E = 16, .D = 7, .gap = 2, .window = 4},
    {.T = 90, .start = 70, .H = 4, .Hp = 4, .Gk = 2, .Gv = 2, .E = 8, .D = 8, .window = 70},
    {.B = 2, .T = 2, .start = 70, .E = 8, .D = 8, .window = 30, .documents = 25},
};

// Every tensor the operation touches; outputs start as NaN.
template <class T>
struct AttentionCase {
  Shape s;
  Buffer<T> q, k, v, dy, o, lse, y, dq, dk, dv;
  std::vector<int32_t> first_of, last_of;

  explicit AttentionCase(const Shape& shape)
      : s(shape),
        q(s.B * s.T * s.H, s.E, s.gap),
        k(s.B * s.keys() * s.Gk, s.E, s.gap),
        v(s.B * s.keys() * s.Gv, s.D, s.gap),
        dy(s.B * s.T * s.Hp, s.D, s.gap),
        o(s.B * s.T * s.H, s.D, s.gap),
        lse(s.B * s.H * s.T),
        y(s.B * s.T * s.Hp, s.D, s.gap),
        dq(s.B * s.T * s.H, s.E, s.gap),
        dk(s.B * s.keys() * s.Gk, s.E, s.gap),
        dv(s.B * s.keys() * s.Gv, s.D, s.gap) {
    q.fill_normal("q", 2), k.fill_normal("k", 2), v.fill_normal("v"), dy.fill_normal("dy");
    for (int64_t b = 0; b < s.B && s.documents > 0; ++b)
      for (int64_t at = 0; at < s.keys(); ++at) {
        int64_t last = at;
        while (last + 1 < s.keys() && s.first(b, last + 1) <= at) ++last;
        first_of.push_back(int32_t(s.first(b, at))), last_of.push_back(int32_t(last));
      }
  }

  AttentionMask mask() const {
    AttentionMask mask;
    if (s.window > 0) mask.window = int(s.window);
    if (s.documents > 0) {
      mask.first_of = {first_of.data(), s.B, s.keys(), s.keys()};
      mask.last_of = {last_of.data(), s.B, s.keys(), s.keys()};
    }
    return mask;
  }

  Heads<T> heads(Buffer<T>& x, int64_t time, int64_t count, int64_t width) const {
    const int64_t row = width + s.gap;
    if (s.heads_first) return {x.data(), s.B, time, count, width, count * time * row, row, time * row};
    return {x.data(), s.B, time, count, width, time * count * row, count * row, row};
  }
  Heads<T> Q() { return heads(q, s.T, s.H, s.E); }
  Heads<T> K() { return heads(k, s.keys(), s.Gk, s.E); }
  Heads<T> V() { return heads(v, s.keys(), s.Gv, s.D); }
  Heads<T> O() { return heads(o, s.T, s.H, s.D); }
  Heads<T> Y() { return heads(y, s.T, s.Hp, s.D); }
  Heads<T> DY() { return heads(dy, s.T, s.Hp, s.D); }
  Heads<T> DQ() { return heads(dq, s.T, s.H, s.E); }
  Heads<T> DK() { return heads(dk, s.keys(), s.Gk, s.E); }
  Heads<T> DV() { return heads(dv, s.keys(), s.Gv, s.D); }
  // What the model reads of the result.
  Heads<T> result() { return s.Hp < s.H ? Y() : O(); }

  AttentionFwd<T> fwd() {
    return {.o = O(),
            .lse = lse.vec(),
            .y = s.Hp < s.H ? Y() : Heads<T>{},
            .q = Q(),
            .k = K(),
            .v = V(),
            .v_modulo = s.v_modulo,
            .start = s.start,
            .scale = s.scale(),
            .mask = mask()};
  }
  AttentionBwd<T> bwd() {
    return {.dq = DQ(),
            .dk = DK(),
            .dv = DV(),
            .dy = DY(),
            .q = Q(),
            .k = K(),
            .v = V(),
            .o = O(),
            .lse = lse.cvec(),
            .v_modulo = s.v_modulo,
            .scale = s.scale(),
            .mask = mask()};
  }
  void run_fwd() { cpu::attention_fwd<T>({}, fwd()); }
  void run_bwd() { cpu::attention_bwd<T>({}, bwd()); }
};

// A double-precision result and how far a result rounded in T may be off, element by element.
struct Expected {
  Buffer<double> value, bound;

  Expected(int64_t rows, int64_t cols) : value(rows, cols), bound(rows, cols) {
    value.fill(0), bound.fill(0);
  }
  void add(int64_t row, int64_t col, double term, double error) {
    value(row, col) += term, bound(row, col) += error;
  }
};

// The definition, with the whole T x T matrix.
//
// Bounds, with u = epsilon (twice what one rounding may cost, which pays for the terms left out): a score is
// a sum of E products, off by at most (E + 2) u S, S the largest sum of |scale q k| of its row. Score and lse
// are both off by that much, lse also by the rounding of its sum of `seen` terms and of itself: together they
// make a probability wrong by a factor of at most 1 + r, r = (2 (E + 3) S + 2 seen + 16) u. Every further sum
// of n terms adds n u times the sum of their sizes.
template <class T>
class Definition {
 public:
  Expected o, lse, y, dq, dk, dv;

  explicit Definition(AttentionCase<T>& c) : Definition(c, c.s) {}

 private:
  static constexpr double u = test::kEps<T>;

  Definition(AttentionCase<T>& c, const Shape& s)
      : o(s.B * s.T * s.H, s.D),
        lse(s.B * s.H * s.T, 1),
        y(s.B * s.T * s.Hp, s.D),
        dq(s.B * s.T * s.H, s.E),
        dk(s.B * s.keys() * s.Gk, s.E),
        dv(s.B * s.keys() * s.Gv, s.D) {
    for (int64_t b = 0; b < s.B; ++b)
      for (int64_t h = 0; h < s.H; ++h)
        for (int64_t i = 0; i < s.T; ++i) row(c, b, h, i);
  }

  void row(AttentionCase<T>& c, int64_t b, int64_t h, int64_t i) {
    const Shape& s = c.s;
    const int64_t g = s.k_head(h), w = s.v_head(h), channel = h % s.Hp;
    const int64_t from = s.first(b, s.start + i), seen = s.start + i + 1 - from;
    const int64_t q_row = (b * s.T + i) * s.H + h, y_row = (b * s.T + i) * s.Hp + channel;
    const auto k_row = [&](int64_t j) { return (b * s.keys() + from + j) * s.Gk + g; };
    const auto v_row = [&](int64_t j) { return (b * s.keys() + from + j) * s.Gv + w; };
    const double share = double(s.Hp) / double(s.H), sharing = double(s.T * s.H);
    const T *q = c.Q().at(b, i, h), *dy = c.DY().at(b, i, channel);
    const Heads<T> k = c.K(), v = c.V();

    std::vector<double> p(size_t(seen), 0), dp = p, dp_error = p;
    double top = -INFINITY, sum = 0, size = 0;
    for (int64_t j = 0; j < seen; ++j) {
      double sizes = 0;
      for (int64_t e = 0; e < s.E; ++e) {
        const double product = s.scale() * double(q[e]) * double(k.at(b, from + j, g)[e]);
        p[size_t(j)] += product, sizes += std::abs(product);
      }
      top = std::max(top, p[size_t(j)]), size = std::max(size, sizes);
    }
    for (double& x : p) sum += x = std::exp(x - top);
    for (double& x : p) x /= sum;
    const double r = (2 * double(s.E + 3) * size + 2 * double(seen) + 16) * u;
    lse.add((b * s.H + h) * s.T + i, 0, top + std::log(sum), r);

    double delta = 0, delta_error = 0;
    for (int64_t d = 0; d < s.D; ++d) {
      const double grad = share * double(dy[d]);
      for (int64_t j = 0; j < seen; ++j) {
        const double value = double(v.at(b, from + j, w)[d]), p_j = p[size_t(j)];
        o.add(q_row, d, p_j * value, p_j * std::abs(value) * (r + double(seen) * u));
        dv.add(v_row(j), d, p_j * grad, p_j * std::abs(grad) * (r + (sharing + 4) * u));
        dp[size_t(j)] += grad * value, dp_error[size_t(j)] += double(s.D + 4) * u * std::abs(grad * value);
      }
      const double o_d = o.value(q_row, d), o_error = o.bound(q_row, d);
      y.add(y_row, d, share * o_d, share * (o_error + double(s.H) * u * std::abs(o_d)));
      delta += grad * o_d, delta_error += std::abs(grad) * (o_error + double(s.D + 4) * u * std::abs(o_d));
    }
    for (int64_t j = 0; j < seen; ++j) {
      const double p_j = s.scale() * p[size_t(j)], slope = dp[size_t(j)] - delta, ds = p_j * slope;
      const double ds_error = p_j * ((r + 4 * u) * std::abs(slope) + dp_error[size_t(j)] + delta_error);
      for (int64_t e = 0; e < s.E; ++e) {
        const double k_e = double(k.at(b, from + j, g)[e]), q_e = double(q[e]);
        dq.add(q_row, e, ds * k_e, std::abs(k_e) * (ds_error + double(seen) * u * std::abs(ds)));
        dk.add(k_row(j), e, ds * q_e, std::abs(q_e) * (ds_error + sharing * u * std::abs(ds)));
      }
    }
  }
};

// Rows of `wanted` are in the order of (b, t, h).
template <class T>
void expect_near(const char* name, const Heads<T>& got, Expected& wanted) {
  for (int64_t b = 0, row = 0; b < got.B; ++b)
    for (int64_t t = 0; t < got.T; ++t)
      for (int64_t h = 0; h < got.H; ++h, ++row)
        for (int64_t d = 0; d < got.D; ++d)
          ASSERT_NEAR(got.at(b, t, h)[d], wanted.value(row, d), wanted.bound(row, d))
              << name << " b" << b << " t" << t << " h" << h << " d" << d;
}

}  // namespace saslm::attention_tests
