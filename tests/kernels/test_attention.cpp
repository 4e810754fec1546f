#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "tests/kernels/attention_case.h"
#include "tests/support.h"

namespace saslm {
namespace {

using namespace attention_tests;

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

// Inference with a cache: only the last queries, against all keys.
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

// Scores from -1e4 to 1e4, at least 150 apart, whose exponentials overflow: the largest score has
// probability 1. Keys rise, so that is the query's own key under a positive query and key 0 under a negative
// one.
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
