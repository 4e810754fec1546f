#include "kernels/adamw.h"
#include "tests/support.h"

namespace saslm {
namespace {

using test::Buffer;
using test::kEps;

template <class T>
struct AdamwCase {
  Buffer<T> master, m, v, grad, param;

  explicit AdamwCase(int64_t size) : master(size), m(size), v(size), grad(size), param(size) {
    master.fill_normal("master"), m.fill_normal("m", 0.1), v.fill_normal("v", 0.01, 0.1),
        grad.fill_normal("grad");
    for (int64_t i = 0; i < size; ++i) v[i] = std::abs(v[i]);
  }
  AdamW<T> args(int64_t t) {
    return {.master = master.vec(),
            .m = m.vec(),
            .v = v.vec(),
            .param = param.vec(),
            .grad = grad.vec(),
            .lr = 0.01,
            .beta1 = 0.9,
            .beta2 = 0.95,
            .eps = 1e-3,
            .weight_decay = 0.1,
            .grad_scale = 0.5,
            .t = t};
  }
};

TEST(AdamW, FirstStepByHand) {
  AdamwCase<double> k(1);
  k.master[0] = 2, k.m[0] = 0, k.v[0] = 0, k.grad[0] = 8;
  AdamW<double> a = k.args(1);
  a.eps = 0;
  cpu::adamw<double>({}, a);
  EXPECT_NEAR(k.m[0], 0.4, 1e-15);                            // 0.1 * (0.5 * 8)
  EXPECT_NEAR(k.v[0], 0.8, 1e-15);                            // 0.05 * 16
  EXPECT_NEAR(k.master[0], 2 - 0.01 * (1 + 0.1 * 2), 1e-15);  // unbiased m / sqrt(v) = 4 / 4
  EXPECT_EQ(k.param[0], k.master[0]);
}

TEST(AdamW, SmallSquaresCountAgainstASmallEpsAndNothingStaysDenormal) {
  AdamwCase<float> k(2);
  for (int i : {0, 1}) k.master[i] = 1, k.m[i] = k.v[i] = 0;
  k.grad[0] = 2e-16f, k.grad[1] = 0;
  k.m[1] = k.v[1] = std::numeric_limits<float>::min();
  AdamW<float> a = k.args(1);
  a.eps = 1e-22, a.weight_decay = 0;
  cpu::adamw<float>({}, a);
  EXPECT_NEAR(k.master[0], 1 - 0.01, 1e-6);  // m / sqrt(v) = 1
  EXPECT_EQ(k.m[1], 0);
  EXPECT_EQ(k.v[1], 0);
}

// Each of m and v is a sum of two, p a sum of three terms with at most a dozen roundings each.
template <class T>
void equals_formula(int64_t size, int64_t t) {
  AdamwCase<T> k(size), before(size);
  cpu::adamw<T>({}, k.args(t));
  for (int64_t i = 0; i < size; ++i) {
    const double g = 0.5 * double(before.grad[i]), m = 0.9 * double(before.m[i]) + 0.1 * g;
    const double v = 0.95 * double(before.v[i]) + 0.05 * g * g;
    const double unbiased_m = m / (1 - std::pow(0.9, double(t))),
                 unbiased_v = v / (1 - std::pow(0.95, double(t)));
    const double p = before.master[i];
    const double step = 0.01 * (unbiased_m / (std::sqrt(unbiased_v) + 1e-3) + 0.1 * p);
    ASSERT_NEAR(k.m[i], m, 4 * kEps<T> * (0.2 + std::abs(g)));
    ASSERT_NEAR(k.v[i], v, 4 * kEps<T> * v);
    ASSERT_NEAR(k.master[i], p - step, 2 * kEps<T> * std::abs(p) + 16 * kEps<T>) << i << " of " << size;
    ASSERT_EQ(k.param[i], k.master[i]);
  }
}
TEST(AdamW, EqualsTheFormulaOnRaggedSizes) {
  for (const int64_t size : {1, 15, 16, 100, 16384 + 33})
    for (const int64_t t : {1, 10, 100000}) {
      equals_formula<float>(size, t);
      equals_formula<double>(size, t);
    }
}

TEST(AdamW, MasterAloneGetsTheSameUpdate) {
  AdamwCase<float> both(50), alone(50);
  cpu::adamw<float>({}, both.args(3));
  AdamW<float> a = alone.args(3);
  a.param = {};
  cpu::adamw<float>({}, a);
  EXPECT_TRUE(alone.master.same_bits(both.master));
  EXPECT_TRUE(std::isnan(alone.param[0]));
}

TEST(AdamW, MomentsWithoutGradientEndAtZeroNotInDenormals) {
  AdamwCase<float> k(20);
  k.m.fill(1e-30), k.v.fill(1e-30), k.grad.fill(0);
  for (int64_t t = 1; t < 200; ++t) {
    cpu::adamw<float>({}, k.args(t));
    for (int64_t i = 0; i < 20; ++i) {
      ASSERT_TRUE(k.m[i] == 0 || std::isnormal(k.m[i]));
      ASSERT_TRUE(k.v[i] == 0 || std::isnormal(k.v[i]));
    }
  }
  EXPECT_EQ(k.m[7], 0);
}

TEST(AdamW, SameBitsWithOneAndTwoThreads) {
  const auto run = [] {
    AdamwCase<float> k(70001);
    cpu::adamw<float>({}, k.args(2));
    return k;
  };
  AdamwCase<float> one = test::with_threads(1, run), two = test::with_threads(2, run);
  EXPECT_TRUE(one.master.same_bits(two.master) && one.m.same_bits(two.m) && one.v.same_bits(two.v));
}

TEST(AdamW, WrongShapesAreNamed) {
  AdamwCase<float> k(4);
  test::expect_shape_error(
      [&] {
        AdamW<float> a = k.args(1);
        a.v.size = 3;
        cpu::adamw<float>({}, a);
      },
      {"adamw: v", "4 elements", "has 3"});
  test::expect_shape_error([&] { cpu::adamw<float>({}, k.args(0)); }, {"adamw: t", "from 1", "is 0"});
}

}  // namespace
}  // namespace saslm
