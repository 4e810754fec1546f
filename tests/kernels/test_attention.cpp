#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "tests/support.h"

namespace saslm {
namespace {

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

// One per path and border: a vector is 16 (8) lanes, a block 64, up to 3 queries go without blocks.
const std::vector<Shape> kShapes = {
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
const std::vector<Shape> kCachedShapes = {
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

// A strip of queries is 16 (8) wide, so windows end within one, at its border, and tiles away; documents end
// anywhere.
const std::vector<Shape> kMaskedShapes = {
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
const std::vector<Shape> kMaskedCachedShapes = {
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
  // What the model goes on with.
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

// A double-precision result and how far rounding in T may stray from it, element by element.
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

template <class T>
class Attention : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Attention, Types);

// Keys ln(j+1) under a query of 1 give probabilities in proportion to 1, 2, 3, ...; with values 1, 2, 3, ...
// row n = i+1 is (sum j^2)/(sum j) = (2n+1)/3, and lse = ln(n(n+1)/2).
TYPED_TEST(Attention, ForwardByHand) {
  for (int64_t T : {3, 6, 70}) {
    AttentionCase<TypeParam> c({.T = T});
    c.q.fill(1);
    for (int64_t j = 0; j < T; ++j) c.k[j] = TypeParam(std::log(double(j + 1))), c.v[j] = TypeParam(j + 1);
    c.run_fwd();
    for (int64_t n = 1; n <= T; ++n) {
      const double rounding = double(T + 8) * test::kEps<TypeParam>;
      EXPECT_NEAR(c.o[n - 1], double(2 * n + 1) / 3, rounding * double(n));
      EXPECT_NEAR(c.lse[n - 1], std::log(double(n * (n + 1)) / 2), rounding);
    }
  }
}

// Row 1 above with values 4, 8: p = 1/4, 3/4 would be keys 0, ln 3; o = 7, dp = 4, 8, ds = p (dp - 7) = -3/4,
// 3/4.
TYPED_TEST(Attention, BackwardByHand) {
  AttentionCase<TypeParam> c({.T = 2});
  c.q.fill(1);
  c.k[0] = 0, c.k[1] = TypeParam(std::log(3.0));
  c.v[0] = 4, c.v[1] = 8;
  c.dy[0] = 0, c.dy[1] = 1;
  c.run_fwd();
  c.run_bwd();
  const double u = 16 * test::kEps<TypeParam>;
  EXPECT_NEAR(c.o[1], 7, 7 * u);
  EXPECT_NEAR(c.dv[0], 0.25, u);
  EXPECT_NEAR(c.dv[1], 0.75, u);
  EXPECT_NEAR(c.dq[0], 0, u);
  EXPECT_NEAR(c.dq[1], 0.75 * std::log(3.0), 8 * u);
  EXPECT_NEAR(c.dk[0], -0.75, 8 * u);
  EXPECT_NEAR(c.dk[1], 0.75, 8 * u);
}

TYPED_TEST(Attention, ForwardIsItsDefinition) {
  std::vector<Shape> shapes = kShapes;
  for (const auto& more : {kCachedShapes, kMaskedShapes, kMaskedCachedShapes})
    shapes.insert(shapes.end(), more.begin(), more.end());
  for (const Shape& shape : shapes) {
    SCOPED_TRACE(shape.name());
    AttentionCase<TypeParam> c(shape);
    Definition<TypeParam> wanted(c);
    c.run_fwd();
    expect_near("o", c.O(), wanted.o);
    if (shape.Hp < shape.H) expect_near("y", c.Y(), wanted.y);
    for (int64_t i = 0; i < c.lse.size(); ++i)
      ASSERT_NEAR(c.lse[i], wanted.lse.value[i], wanted.lse.bound[i]) << i;
    EXPECT_TRUE(c.o.gaps_untouched() && c.y.gaps_untouched());
  }
}

TYPED_TEST(Attention, BackwardIsItsDefinition) {
  std::vector<Shape> shapes = kShapes;
  shapes.insert(shapes.end(), kMaskedShapes.begin(), kMaskedShapes.end());
  for (const Shape& shape : shapes) {
    SCOPED_TRACE(shape.name());
    AttentionCase<TypeParam> c(shape);
    Definition<TypeParam> wanted(c);
    c.run_fwd();
    c.run_bwd();
    expect_near("dq", c.DQ(), wanted.dq);
    expect_near("dk", c.DK(), wanted.dk);
    expect_near("dv", c.DV(), wanted.dv);
    EXPECT_TRUE(c.dq.gaps_untouched() && c.dk.gaps_untouched() && c.dv.gaps_untouched());
  }
}

// loss = dy . result, so that dy is the gradient of the result.
TEST(AttentionBwd, IsTheSlopeOfForward) {
  for (const Shape& shape : std::vector<Shape>{
           {.B = 2, .T = 6, .H = 4, .Hp = 2, .Gk = 4, .Gv = 4, .E = 3, .D = 2},
           {.B = 1, .T = 5, .H = 4, .Hp = 4, .Gk = 2, .Gv = 2, .E = 2, .D = 3},
           {.B = 1, .T = 5, .H = 3, .Hp = 3, .Gk = 1, .Gv = 1, .E = 3, .D = 3},
           {.B = 1, .T = 5, .H = 6, .Hp = 2, .Gk = 6, .Gv = 1, .v_modulo = 2, .E = 2, .D = 2},
           {.B = 1, .T = 66, .E = 2, .D = 1},
           {.B = 2, .T = 6, .H = 4, .Hp = 2, .Gk = 2, .Gv = 2, .E = 3, .D = 2, .window = 3},
           {.B = 2, .T = 7, .H = 2, .Hp = 2, .E = 3, .D = 2, .documents = 2},
           {.B = 1, .T = 130, .E = 2, .D = 1, .window = 50},
       }) {
    SCOPED_TRACE(shape.name());
    AttentionCase<double> c(shape);
    c.run_fwd();
    c.run_bwd();
    const auto loss = [&] {
      c.run_fwd();
      Heads<double> result = c.result(), dy = c.DY();
      double sum = 0;
      for (int64_t b = 0; b < shape.B; ++b)
        for (int64_t t = 0; t < shape.T; ++t)
          for (int64_t h = 0; h < shape.Hp; ++h)
            for (int64_t d = 0; d < shape.D; ++d) sum += result.at(b, t, h)[d] * dy.at(b, t, h)[d];
      return sum;
    };
    test::with_threads(1, [&] {  // thousands of tiny forwards
      test::expect_slopes("dq", c.dq, c.q, loss);
      test::expect_slopes("dk", c.dk, c.k, loss);
      test::expect_slopes("dv", c.dv, c.v, loss);
    });
  }
}

TYPED_TEST(Attention, OutputsAreOverwritten) {
  for (const Shape& shape : {kShapes[5], kShapes[8], kShapes[10], kMaskedShapes[3], kMaskedShapes[14]}) {
    AttentionCase<TypeParam> once(shape), twice(shape);
    once.run_fwd(), once.run_bwd();
    twice.run_fwd(), twice.run_bwd(), twice.run_fwd(), twice.run_bwd();
    for (auto x :
         {&AttentionCase<TypeParam>::o, &AttentionCase<TypeParam>::y, &AttentionCase<TypeParam>::lse,
          &AttentionCase<TypeParam>::dq, &AttentionCase<TypeParam>::dk, &AttentionCase<TypeParam>::dv})
      EXPECT_TRUE((once.*x).same_bits(twice.*x)) << shape.name();
  }
}

TYPED_TEST(Attention, BitsDoNotDependOnThreads) {
  std::vector<Shape> shapes = kShapes;
  shapes.insert(shapes.end(), kMaskedShapes.begin(), kMaskedShapes.end());
  for (const Shape& shape : shapes) {
    AttentionCase<TypeParam> one(shape), three(shape);
    test::with_threads(1, [&] { one.run_fwd(), one.run_bwd(); });
    test::with_threads(3, [&] { three.run_fwd(), three.run_bwd(); });
    for (auto x :
         {&AttentionCase<TypeParam>::o, &AttentionCase<TypeParam>::y, &AttentionCase<TypeParam>::lse,
          &AttentionCase<TypeParam>::dq, &AttentionCase<TypeParam>::dk, &AttentionCase<TypeParam>::dv})
      EXPECT_TRUE((one.*x).same_bits(three.*x)) << shape.name();
  }
}

// Inference with a cache: the last queries alone, against all keys.
TYPED_TEST(Attention, LateQueriesAloneEqualTheirRowsOfTheWhole) {
  const Shape whole_shape{
      .B = 2, .T = 150, .H = 6, .Hp = 3, .Gk = 3, .Gv = 3, .v_modulo = 3, .E = 18, .D = 20};
  AttentionCase<TypeParam> whole(whole_shape);
  Definition<TypeParam> wanted(whole);
  whole.run_fwd();
  for (int64_t late : {1, 3, 4, 5, 16, 83, 149}) {
    AttentionCase<TypeParam> c(whole_shape);
    AttentionFwd<TypeParam> args = c.fwd();
    args.start = whole_shape.T - late;
    args.q = args.q.time_range(args.start, late);
    args.o = args.o.time_range(args.start, late);
    args.y = args.y.time_range(args.start, late);
    args.lse.size = whole_shape.B * whole_shape.H * late;
    cpu::attention_fwd<TypeParam>({}, args);
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t t = 0; t < whole_shape.T; ++t)
        for (int64_t h = 0; h < 3; ++h)
          for (int64_t d = 0; d < 20; ++d) {
            const TypeParam got = c.Y().at(b, t, h)[d];
            if (t < args.start)
              ASSERT_TRUE(std::isnan(got)) << "row " << t << " was not asked for";
            else
              ASSERT_NEAR(got, whole.Y().at(b, t, h)[d],
                          2 * wanted.y.bound((b * whole_shape.T + t) * 3 + h, d))
                  << late << " late, row " << t;
          }
  }
}

// As wide as the sequence, or given as positions, it is another spelling of the same mask.
TYPED_TEST(Attention, EverySpellingOfAMaskHasTheSameBits) {
  const Shape plain{.B = 2, .T = 150, .H = 2, .Hp = 1, .Gk = 2, .Gv = 2, .E = 8, .D = 8};
  Shape wide = plain, narrow = plain, spelled = plain;
  wide.window = 150, narrow.window = spelled.window = 37, spelled.documents = 1000;
  AttentionCase<TypeParam> a(plain), b(wide), c(narrow), d(spelled);
  for (auto* x : {&a, &b, &c, &d}) x->run_fwd(), x->run_bwd();
  for (auto x : {&AttentionCase<TypeParam>::y, &AttentionCase<TypeParam>::lse, &AttentionCase<TypeParam>::dq,
                 &AttentionCase<TypeParam>::dk, &AttentionCase<TypeParam>::dv}) {
    EXPECT_TRUE((a.*x).same_bits(b.*x));
    EXPECT_TRUE((c.*x).same_bits(d.*x));
    EXPECT_FALSE((a.*x).same_bits(c.*x));
  }
}

// What lies beyond the window is not even read: numbers that are none would show.
TYPED_TEST(Attention, KeysBeyondTheWindowAreNotRead) {
  const int64_t T = 300, W = 20;
  AttentionCase<TypeParam> c({.T = T, .E = 8, .D = 8, .window = W});
  for (int64_t j = 0; j < 100; ++j)
    for (int64_t d = 0; d < 8; ++d)
      c.k[j * 8 + d] = c.v[j * 8 + d] = std::numeric_limits<TypeParam>::quiet_NaN();
  c.run_fwd();
  for (int64_t t = 99 + W + 64; t < T; ++t) EXPECT_TRUE(std::isfinite(c.o[8 * t])) << t;
  for (int64_t t = 0; t < 99 + W; ++t) EXPECT_TRUE(std::isnan(c.o[8 * t])) << t;
}

TEST(AttentionMask, TilesPairsAndEndsAreThoseOfItsDefinition) {
  for (const int64_t window : {1, 2, 5, 9, 40})
    for (const int64_t documents : {0, 3}) {
      const Shape s{.B = 2, .T = 20, .window = window, .documents = documents};
      const AttentionCase<float> c(s);
      double pairs = 0;
      for (int64_t b = 0; b < s.B; ++b) {
        const SequenceMask mask = c.mask().of(b, s.T);
        const auto sees = [&](int64_t i, int64_t j) { return j <= i && j >= s.first(b, i); };
        for (int64_t i = 0; i < s.T; ++i) {
          EXPECT_EQ(mask.first(int(i)), s.first(b, i));
          EXPECT_TRUE(sees(mask.last(int(i)), i));
          EXPECT_TRUE(mask.last(int(i)) == s.T - 1 || !sees(mask.last(int(i)) + 1, i));
          pairs += double(i - s.first(b, i)) + 0.5;
        }
        for (const int64_t queries : {1, 4, 7})
          for (const int64_t keys : {1, 3, 8})
            for (int64_t i = 0; i + queries <= s.T; ++i)
              for (int64_t j = 0; j + keys <= s.T; ++j) {
                int64_t visible = 0;
                for (int64_t n = 0; n < queries * keys; ++n) visible += sees(i + n / keys, j + n % keys);
                const TileMask wanted = visible == 0                ? TileMask::skipped
                                        : visible == queries * keys ? TileMask::full
                                                                    : TileMask::partial;
                EXPECT_EQ(mask.tile(int(i), int(i + queries - 1), int(j), int(j + keys - 1)), wanted)
                    << window << " " << i << " " << j;
              }
      }
      EXPECT_EQ(c.mask().pairs(s.B, 0, s.T), pairs);
    }
  EXPECT_EQ(AttentionMask{}.pairs(3, 0, 10), 3 * 50);
  EXPECT_EQ(AttentionMask{.window = 4}.pairs(1, 10, 2), 2 * 3.5);
}

TYPED_TEST(Attention, TheFutureDoesNotReachThePast) {
  const Shape shape{.T = 100, .H = 2, .Hp = 2, .Gk = 2, .Gv = 2, .E = 8, .D = 8};
  for (int64_t changed : {1, 15, 16, 63, 64, 99}) {
    AttentionCase<TypeParam> c(shape), other(shape);
    for (int64_t h = 0; h < 2; ++h) other.K().at(0, changed, h)[0] += 9, other.V().at(0, changed, h)[0] += 9;
    c.run_fwd(), other.run_fwd();
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t t = 0; t < changed; ++t)
        for (int64_t d = 0; d < 8; ++d) ASSERT_EQ(c.O().at(0, t, h)[d], other.O().at(0, t, h)[d]) << t;
      EXPECT_NE(c.O().at(0, changed, h)[0], other.O().at(0, changed, h)[0]);
    }
  }
}

// Scores from -1e4 to 1e4, at least 150 apart, whose exponentials overflow: the largest takes it all. Keys
// rise, so that is the query's own key under a positive query and key 0 under a negative one.
TYPED_TEST(Attention, HugeScoresStayFinite) {
  for (int64_t T : {3, 130}) {
    AttentionCase<TypeParam> c({.T = T});
    for (int64_t i = 0; i < T; ++i) {
      c.q[i] = i % 3 == 0 ? TypeParam(-100) : TypeParam(100);
      c.k[i] = TypeParam(-100 + 200 * double(i) / double(T - 1));
    }
    c.run_fwd();
    c.run_bwd();
    for (int64_t i = 0; i < T; ++i) {
      const int64_t winner = i % 3 == 0 ? 0 : i;
      EXPECT_EQ(c.o[i], c.v[winner]) << "row " << i << " of " << T;
      EXPECT_EQ(c.lse[i], c.q[i] * c.k[winner]) << "row " << i << " of " << T;
      EXPECT_NEAR(c.dq[i], 0, 1e-50) << "row " << i << " of " << T;
      EXPECT_TRUE(std::isfinite(c.dk[i]) && std::isfinite(c.dv[i])) << "row " << i << " of " << T;
    }
  }
}

TYPED_TEST(Attention, ANonFiniteInputIsNotHidden) {
  for (int64_t T : {3, 80}) {
    AttentionCase<TypeParam> c({.T = T, .E = 2, .D = 2});
    c.k[2] = std::numeric_limits<TypeParam>::quiet_NaN();  // key 1
    c.run_fwd();
    for (int64_t t = 0; t < T; ++t) EXPECT_EQ(std::isnan(c.o[2 * t]), t >= 1) << "row " << t << " of " << T;
  }
}

TEST(AttentionFwd, WrongShapesAreNamed) {
  AttentionCase<float> c({.B = 2, .T = 3, .H = 4, .Hp = 2, .Gk = 2, .Gv = 4, .E = 6, .D = 5});
  const auto refused = [&](auto change, std::vector<std::string> words) {
    AttentionFwd<float> args = c.fwd();
    change(args);
    test::expect_shape_error([&] { cpu::attention_fwd<float>({}, args); }, words);
  };
  refused([](auto& a) { a.q = {}; }, {"attention_fwd: q must be given, is absent"});
  refused([](auto& a) { a.q.T = 0; }, {"q must be (2, 0, 4, 6) with no size below 1, is (2, 0, 4, 6)"});
  refused([](auto& a) { a.k.D = 7; }, {"k must be (2, 3, 2, 6)", "is (2, 3, 2, 7)"});
  refused([](auto& a) { a.k.H = 3; }, {"k.H must divide q.H = 4, is 3"});
  refused([](auto& a) { a.v.H = 3; }, {"v.H must divide q.H = 4, is 3"});
  refused([](auto& a) { a.v_modulo = 3; }, {"v_modulo must divide q.H = 4, is 3"});
  refused([](auto& a) { a.v_modulo = -2; }, {"v_modulo must divide q.H = 4, is -2"});
  refused([](auto& a) { a.v_modulo = 2; }, {"v.H must divide v_modulo = 2, is 4"});
  refused([](auto& a) { a.start = 1; }, {"k must be (2, 4, 2, 6)", "is (2, 3, 2, 6)"});
  refused([](auto& a) { a.start = -1; }, {"start must be at least 0, is -1"});
  refused([](auto& a) { a.v.T = 2; }, {"v must be (2, 3, 4, 5)", "is (2, 2, 4, 5)"});
  refused([](auto& a) { a.o.D = 6; }, {"o must be (2, 3, 4, 5)", "is (2, 3, 4, 6)"});
  refused([](auto& a) { a.lse.size = 23; }, {"lse must have 24 elements, has 23"});
  refused([](auto& a) { a.lse = {}; }, {"lse must be given, is absent"});
  refused([](auto& a) { a.y.H = 3; }, {"y.H must divide q.H = 4, is 3"});
  refused([](auto& a) { a.scale = 0; }, {"scale must be a positive number", "is 0"});
  refused([](auto& a) { a.mask.window = 0; }, {"mask.window must be at least 1, is 0"});
  const std::vector<int32_t> ends(6, 0);
  refused([&](auto& a) { a.mask.first_of = {ends.data(), 2, 3, 3}; }, {"mask.last_of must be given"});
  refused(
      [&](auto& a) {
        a.mask.first_of = a.mask.last_of = {ends.data(), 2, 2, 3};
      },
      {"mask.first_of must be (2, 3), is (2, 2)"});
}

TEST(AttentionBwd, WrongShapesAreNamed) {
  AttentionCase<double> c({.B = 2, .T = 3, .H = 4, .Hp = 2, .Gk = 2, .Gv = 4, .E = 6, .D = 5});
  const auto refused = [&](auto change, std::vector<std::string> words) {
    AttentionBwd<double> args = c.bwd();
    change(args);
    test::expect_shape_error([&] { cpu::attention_bwd<double>({}, args); }, words);
  };
  refused([](auto& a) { a.dq.H = 2; }, {"attention_bwd: dq must be (2, 3, 4, 6)", "is (2, 3, 2, 6)"});
  refused([](auto& a) { a.dk.T = 2; }, {"dk must be (2, 3, 2, 6)", "is (2, 2, 2, 6)"});
  refused([](auto& a) { a.dv = {}; }, {"dv must be given, is absent"});
  refused([](auto& a) { a.dy.H = 3; }, {"dy.H must divide q.H = 4, is 3"});
  refused([](auto& a) { a.k.T = 4; }, {"k must be (2, 3, 2, 6)", "is (2, 4, 2, 6)"});
  refused([](auto& a) { a.lse.size = 1; }, {"lse must have 24 elements, has 1"});
  refused([](auto& a) { a.mask.window = -1; }, {"mask.window must be at least 1"});
}

}  // namespace
}  // namespace saslm
