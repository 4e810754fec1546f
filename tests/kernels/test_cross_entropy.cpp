#include "kernels/cross_entropy.h"
#include "tests/support.h"

namespace saslm {
namespace {

using test::Buffer;
using test::kEps;

template <class T>
struct CrossEntropyCase {
  Buffer<T> logits, loss, aux;
  Buffer<int32_t> targets;
  double softcap = 0, z_weight = 0;

  CrossEntropyCase(int64_t N, int64_t V, double spread = 3, int64_t gap = 5)
      : logits(N, V, gap), loss(N), aux(N), targets(N) {
    logits.fill_normal("logits", spread);
    for (int64_t n = 0; n < N; ++n) targets[n] = int32_t((n * 7919 + V - 1) % V);
  }
  void run(double scale) {
    aux.fill(0.5);  // to which the z-loss is added
    cpu::cross_entropy<T>({}, {.loss = loss.vec(),
                               .logits = logits.mat(),
                               .targets = targets.vec(),
                               .scale = scale,
                               .softcap = softcap,
                               .z_weight = z_weight,
                               .aux_loss = z_weight != 0 ? aux.vec() : Vec<T>{}});
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

TEST(CrossEntropy, SoftCapAndZLossByHand) {
  CrossEntropyCase<float> k(1, 2);
  k.logits[0] = 0, k.logits[1] = float(2 * std::atanh(0.5)), k.targets[0] = 1;  // which count as 0 and 1
  k.softcap = 2, k.z_weight = 0.3;
  k.run(10);
  const double lse = std::log(1 + std::exp(1.0)), p = std::exp(1.0) / (1 + std::exp(1.0));
  EXPECT_NEAR(k.loss[0], lse - 1, 1e-6);
  EXPECT_NEAR(k.aux[0], 0.5 + 0.3 * lse * lse, 1e-6);
  EXPECT_NEAR(k.logits[0], 10 * (1 + 0.6 * lse) * (1 - p), 1e-5);
  EXPECT_NEAR(k.logits[1], 10 * ((1 + 0.6 * lse) * p - 1) * 0.75, 1e-5);  // the slope: 1 - (1/2)^2
}

// In T: a difference z - max below 30 is rounded to 30 eps, its exponential to 2 more, and a lane adds at
// most 256 terms before double takes over.
// A cap c rounds a logit by a few c eps, and so does what follows from it.
template <class T>
void equals_formula(int64_t N, int64_t V, double scale, double softcap = 0, double z_weight = 0) {
  CrossEntropyCase<T> k(N, V);
  k.softcap = softcap, k.z_weight = z_weight;
  Buffer<T> raw = k.logits;
  Buffer<double> z(N, V);
  const auto share = [&](int64_t n, int64_t v) { return std::tanh(double(raw(n, v)) / softcap); };
  for (int64_t n = 0; n < N; ++n)
    for (int64_t v = 0; v < V; ++v) z(n, v) = softcap == 0 ? double(raw(n, v)) : softcap * share(n, v);
  k.run(scale);
  const double relative = (256 + 32 + 8 * softcap) * kEps<T>;
  for (int64_t n = 0; n < N; ++n) {
    double max = -1e300, sum = 0;
    for (int64_t v = 0; v < V; ++v) max = std::max(max, double(z(n, v)));
    for (int64_t v = 0; v < V; ++v) sum += std::exp(double(z(n, v)) - max);
    const double wanted = std::log(sum) + max - double(z(n, k.targets[n]));
    ASSERT_NEAR(k.loss[n], wanted, relative * (1 + std::abs(wanted))) << N << "x" << V;
    const double lse = std::log(sum) + max, more = 1 + 2 * z_weight * lse;
    ASSERT_NEAR(k.aux[n], 0.5 + z_weight * lse * lse, 4 * relative * (1 + z_weight * lse * lse));
    for (int64_t v = 0; v < V; ++v) {
      const double p = std::exp(double(z(n, v)) - max) / sum,
                   slope = softcap == 0 ? 1 : 1 - std::pow(share(n, v), 2);
      const double gradient =
          scale == 0 ? double(raw(n, v)) : scale * (more * p - (v == k.targets[n] ? 1 : 0)) * slope;
      ASSERT_NEAR(k.logits(n, v), gradient, scale * (relative * (1 + std::abs(more)) * p + 4 * kEps<T>))
          << N << "x" << V << " " << v;
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

TEST(CrossEntropy, EqualsTheFormulaUnderSoftCapAndZLoss) {
  for (const int64_t V : {1, 16, 17, 4133})
    for (const double scale : {0.0, 0.25})
      for (const double softcap : {0.0, 0.5, 3.0, 30.0})
        for (const double z_weight : {0.0, 1e-4, 0.7}) {
          equals_formula<float>(3, V, scale, softcap, z_weight);
          equals_formula<double>(3, V, scale, softcap, z_weight);
        }
}

TEST(CrossEntropy, GradientIsTheSlopeOfLossAndZLossUnderASoftCap) {
  constexpr double kScale = 0.37;
  for (const double softcap : {0.0, 2.0})
    for (const double z_weight : {0.0, 0.3}) {
      CrossEntropyCase<double> k(2, 21), graded(2, 21);
      k.softcap = graded.softcap = softcap, k.z_weight = graded.z_weight = z_weight;
      graded.run(kScale);
      test::expect_slopes("dlogits", graded.logits, k.logits, [&] {
        k.run(0);
        return kScale * (k.loss[0] + k.loss[1] + k.aux[0] + k.aux[1]);
      });
    }
}

// c tanh(z / c) = z - z^3 / (3 c^2) + ...: a cap far above the logits leaves them.
TEST(CrossEntropy, AHighCapChangesNothing) {
  CrossEntropyCase<double> capped(2, 50), plain(2, 50);
  capped.softcap = 1e6;
  capped.run(0.5), plain.run(0.5);
  for (int64_t n = 0; n < 2; ++n) EXPECT_NEAR(capped.loss[n], plain.loss[n], 1e-8);
  for (int64_t i = 0; i < 100; ++i) EXPECT_NEAR(capped.logits[i], plain.logits[i], 1e-8);
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
      for (const auto& [scale, softcap] : {std::pair{0.0, 0.0}, {1.0, 0.0}, {0.0, 5.0}, {1.0, 5.0}}) {
        CrossEntropyCase<float> k(2, 37);
        k.logits(1, at) = bad;
        k.softcap = softcap;
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
  for (const double bad : {-1.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
    CrossEntropyCase<float> capped(3, 4), weighted(3, 4);
    capped.softcap = bad, weighted.z_weight = bad;
    test::expect_shape_error([&] { capped.run(1); }, {"cross_entropy: softcap", "finite and at least 0"});
    test::expect_shape_error([&] { weighted.run(1); }, {"cross_entropy: z_weight", "finite and at least 0"});
  }
  test::expect_shape_error(
      [&] {
        CrossEntropy<float> a{.loss = k.loss.vec(), .logits = k.logits.mat(), .targets = k.targets.vec()};
        a.z_weight = 1;
        cpu::cross_entropy<float>({}, a);
      },
      {"cross_entropy: aux_loss"});
}

}  // namespace
}  // namespace saslm
