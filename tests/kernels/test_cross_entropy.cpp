#include "kernels/cross_entropy.h"
#include "tests/support.h"

namespace saslm {
namespace {

using test::Buffer;
using test::kEps;

template <class T>
struct CrossEntropyCase {
  Buffer<T> logits, loss;
  Buffer<int32_t> targets;

  CrossEntropyCase(int64_t N, int64_t V, double spread = 3, int64_t gap = 5)
      : logits(N, V, gap), loss(N), targets(N) {
    logits.fill_normal("logits", spread);
    for (int64_t n = 0; n < N; ++n) targets[n] = int32_t((n * 7919 + V - 1) % V);
  }
  void run(double scale) {
    cpu::cross_entropy<T>(
        {}, {.loss = loss.vec(), .logits = logits.mat(), .targets = targets.vec(), .scale = scale});
  }
};

TEST(CrossEntropy, ByHand) {
  CrossEntropyCase<float> k(1, 3);
  k.logits[0] = std::log(1.f), k.logits[1] = std::log(2.f), k.logits[2] = std::log(5.f), k.targets[0] = 1;
  k.run(4);
  EXPECT_NEAR(k.loss[0], std::log(4.0), 1e-6);  // probabilities 1/8, 2/8, 5/8
  EXPECT_NEAR(k.logits[0], 0.5, 1e-6);
  EXPECT_NEAR(k.logits[1], 4 * (0.25 - 1), 1e-6);
  EXPECT_NEAR(k.logits[2], 2.5, 1e-6);
}

// In T: a difference z - max below 30 is rounded to 30 eps, its exponential to 2 more, and a lane adds at
// most 256 terms before double takes over.
template <class T>
void equals_formula(int64_t N, int64_t V, double scale) {
  CrossEntropyCase<T> k(N, V);
  Buffer<T> z = k.logits;
  k.run(scale);
  const double relative = (256 + 32) * kEps<T>;
  for (int64_t n = 0; n < N; ++n) {
    double max = -1e300, sum = 0;
    for (int64_t v = 0; v < V; ++v) max = std::max(max, double(z(n, v)));
    for (int64_t v = 0; v < V; ++v) sum += std::exp(double(z(n, v)) - max);
    const double wanted = std::log(sum) + max - double(z(n, k.targets[n]));
    ASSERT_NEAR(k.loss[n], wanted, relative * (1 + std::abs(wanted))) << N << "x" << V;
    for (int64_t v = 0; v < V; ++v) {
      const double p = std::exp(double(z(n, v)) - max) / sum;
      const double gradient = scale == 0 ? double(z(n, v)) : scale * (p - (v == k.targets[n] ? 1 : 0));
      ASSERT_NEAR(k.logits(n, v), gradient, scale * (relative * p + kEps<T>)) << N << "x" << V << " " << v;
    }
  }
  EXPECT_TRUE(k.logits.gaps_untouched());
}
TEST(CrossEntropy, EqualsTheFormulaOnRaggedShapesAndKeepsLogitsAtScaleZero) {
  for (const int64_t V : {1, 2, 16, 17, 250, 4096, 4133, 9001})
    for (const double scale : {0.0, 0.25}) {
      equals_formula<float>(3, V, scale);
      equals_formula<double>(3, V, scale);
    }
}

TEST(CrossEntropy, GradientIsTheSlopeOfTheScaledLoss) {
  constexpr double kScale = 0.37;
  CrossEntropyCase<double> k(2, 21), graded(2, 21);
  graded.run(kScale);
  test::expect_slopes("dlogits", graded.logits, k.logits, [&] {
    k.run(0);
    return kScale * (k.loss[0] + k.loss[1]);
  });
}

TEST(CrossEntropy, LargeLogitsDoNotOverflow) {
  CrossEntropyCase<float> k(1, 20);
  k.logits.fill(-30000), k.logits[3] = 30000, k.targets[0] = 3;
  k.run(1);
  EXPECT_EQ(k.loss[0], 0);
  CrossEntropyCase<float> wrong(1, 20);
  wrong.logits.fill(-30000), wrong.logits[3] = 30000, wrong.targets[0] = 4;
  wrong.run(1);
  EXPECT_EQ(wrong.loss[0], 60000);
  EXPECT_EQ(wrong.logits[4], -1);
  EXPECT_EQ(wrong.logits[3], 1);
}

TEST(CrossEntropy, ANonFiniteLogitAnywhereGivesANonFiniteLossOfThatRowOnly) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const float bad : {kInf, -kInf, std::nanf("")})
    for (const int64_t at : {0, 1, 15, 16, 36})
      for (const double scale : {0.0, 1.0}) {
        CrossEntropyCase<float> k(2, 37);
        k.logits(1, at) = bad;
        k.run(scale);
        EXPECT_TRUE(std::isfinite(k.loss[0])) << bad << " at " << at;
        EXPECT_FALSE(std::isfinite(k.loss[1])) << bad << " at " << at;
      }
}

// Whatever pad columns hold: loss and gradient are, bit for bit, those without them.
TEST(CrossEntropy, IgnoresPadColumnsAndMakesZerosOfThem) {
  for (const int64_t V : {1, 17, 250})
    for (const double scale : {0.0, 0.5}) {
      constexpr int64_t kPad = 6;
      CrossEntropyCase<float> alone(3, V), padded(3, V + kPad);
      padded.logits.fill(std::nanf(""));
      for (int64_t n = 0; n < 3; ++n) {
        padded.targets[n] = alone.targets[n];
        for (int64_t v = 0; v < V; ++v) padded.logits(n, v) = alone.logits(n, v);
      }
      alone.run(scale);
      cpu::cross_entropy<float>({}, {.loss = padded.loss.vec(),
                                     .logits = padded.logits.mat(),
                                     .targets = padded.targets.vec(),
                                     .scale = scale,
                                     .pad = kPad});
      EXPECT_TRUE(padded.loss.same_bits(alone.loss)) << V;
      for (int64_t n = 0; n < 3; ++n) {
        for (int64_t v = 0; v < V; ++v) ASSERT_EQ(padded.logits(n, v), alone.logits(n, v)) << V << " " << v;
        for (int64_t v = V; v < V + kPad; ++v) {
          if (scale == 0)
            ASSERT_TRUE(std::isnan(padded.logits(n, v))) << "was written";
          else
            ASSERT_EQ(padded.logits(n, v), 0) << V << " " << v;
        }
      }
      EXPECT_TRUE(padded.logits.gaps_untouched());
    }
}

TEST(CrossEntropy, SameBitsWithOneAndTwoThreads) {
  const auto run = [] {
    CrossEntropyCase<float> k(9, 5000);
    k.run(0.5);
    return k;
  };
  CrossEntropyCase<float> one = test::with_threads(1, run), two = test::with_threads(2, run);
  EXPECT_TRUE(one.loss.same_bits(two.loss) && one.logits.same_bits(two.logits));
}

TEST(CrossEntropy, WrongShapesAreNamed) {
  CrossEntropyCase<float> k(3, 4);
  test::expect_shape_error(
      [&] {
        CrossEntropy<float> a{.loss = k.loss.vec(), .logits = k.logits.mat(), .targets = k.targets.vec()};
        a.targets.size = 2;
        cpu::cross_entropy<float>({}, a);
      },
      {"cross_entropy: targets", "3 elements", "has 2"});
  for (const int64_t pad : {-1, 4})
    test::expect_shape_error(
        [&] {
          cpu::cross_entropy<float>(
              {}, {.loss = k.loss.vec(), .logits = k.logits.mat(), .targets = k.targets.vec(), .pad = pad});
        },
        {"cross_entropy: pad", "of the logits' 4", std::to_string(pad)});
}

}  // namespace
}  // namespace saslm
