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

  int64_t keys() const { return start + T; }
  int64_t k_head(int64_t h) const { return h / (H / Gk); }
  int64_t v_head(int64_t h) const { return v_modulo ? h % v_modulo / (v_modulo / Gv) : h / (H / Gv); }
  double scale() const { return 1 / std::sqrt(double(E)); }
  std::string name() const {
    std::string text;
    for (int64_t x : {B, T, start, H, Hp, Gk, Gv, v_modulo, E, D}) text += " " + std::to_string(x);
    return "B T start H Hp Gk Gv v_modulo E D =" + text;
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

// Every tensor the operation touches; outputs start as NaN.
template <class T>
struct AttentionCase {
  Shape s;
  Buffer<T> q, k, v, dy, o, lse, y, dq, dk, dv;

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
            .scale = s.scale()};
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
            .scale = s.scale()};
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
    const int64_t g = s.k_head(h), w = s.v_head(h), channel = h % s.Hp, seen = s.start + i + 1;
    const int64_t q_row = (b * s.T + i) * s.H + h, y_row = (b * s.T + i) * s.Hp + channel;
    const auto k_row = [&](int64_t j) { return (b * s.keys() + j) * s.Gk + g; };
    const auto v_row = [&](int64_t j) { return (b * s.keys() + j) * s.Gv + w; };
    const double share = double(s.Hp) / double(s.H), sharing = double(s.T * s.H);
    const T *q = c.Q().at(b, i, h), *dy = c.DY().at(b, i, channel);
    const Heads<T> k = c.K(), v = c.V();

    std::vector<double> p(size_t(seen), 0), dp = p, dp_error = p;
    double top = -INFINITY, sum = 0, size = 0;
    for (int64_t j = 0; j < seen; ++j) {
      double sizes = 0;
      for (int64_t e = 0; e < s.E; ++e) {
        const double product = s.scale() * double(q[e]) * double(k.at(b, j, g)[e]);
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
        const double value = double(v.at(b, j, w)[d]), p_j = p[size_t(j)];
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
        const double k_e = double(k.at(b, j, g)[e]), q_e = double(q[e]);
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
  shapes.insert(shapes.end(), kCachedShapes.begin(), kCachedShapes.end());
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
  for (const Shape& shape : kShapes) {
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
  for (const Shape& shape : {kShapes[5], kShapes[8], kShapes[10]}) {
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
  for (const Shape& shape : kShapes) {
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
  refused([](auto& a) { a.q = {}; }, {"attention_fwd", "q is absent"});
  refused([](auto& a) { a.q.T = 0; }, {"q is (2, 0, 4, 6)"});
  refused([](auto& a) { a.k.D = 7; }, {"k.D = 7", "wanted 6"});
  refused([](auto& a) { a.k.H = 3; }, {"k.H = 3", "divisor of q.H = 4"});
  refused([](auto& a) { a.v.H = 3; }, {"v.H = 3", "divisor of q.H = 4"});
  refused([](auto& a) { a.v_modulo = 3; }, {"v_modulo = 3", "divisor of q.H = 4"});
  refused([](auto& a) { a.v_modulo = -2; }, {"v_modulo = -2"});
  refused([](auto& a) { a.v_modulo = 2; }, {"v.H = 4", "divisor of v_modulo = 2"});
  refused([](auto& a) { a.start = 1; }, {"k.T = 3", "wanted 4"});
  refused([](auto& a) { a.start = -1; }, {"start = -1"});
  refused([](auto& a) { a.v.T = 2; }, {"v.T = 2", "wanted 3"});
  refused([](auto& a) { a.o.D = 6; }, {"o.D = 6", "wanted 5"});
  refused([](auto& a) { a.lse.size = 23; }, {"lse.size = 23", "wanted 24"});
  refused([](auto& a) { a.lse = {}; }, {"lse is absent"});
  refused([](auto& a) { a.y.H = 3; }, {"y.H = 3", "divisor of q.H = 4"});
  refused([](auto& a) { a.scale = 0; }, {"scale = 0"});
}

TEST(AttentionBwd, WrongShapesAreNamed) {
  AttentionCase<double> c({.B = 2, .T = 3, .H = 4, .Hp = 2, .Gk = 2, .Gv = 4, .E = 6, .D = 5});
  const auto refused = [&](auto change, std::vector<std::string> words) {
    AttentionBwd<double> args = c.bwd();
    change(args);
    test::expect_shape_error([&] { cpu::attention_bwd<double>({}, args); }, words);
  };
  refused([](auto& a) { a.dq.H = 2; }, {"attention_bwd", "dq.H = 2", "wanted 4"});
  refused([](auto& a) { a.dk.T = 2; }, {"dk.T = 2", "wanted 3"});
  refused([](auto& a) { a.dv = {}; }, {"dv is absent"});
  refused([](auto& a) { a.dy.H = 3; }, {"dy.H = 3", "divisor of q.H = 4"});
  refused([](auto& a) { a.k.T = 4; }, {"k.T = 4", "wanted 3"});
  refused([](auto& a) { a.lse.size = 1; }, {"lse.size = 1", "wanted 24"});
}

}  // namespace
}  // namespace saslm
