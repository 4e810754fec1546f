#include <numbers>

#include "kernels/activation.h"
#include "tests/support.h"

namespace saslm {
namespace {

using test::Buffer;
using test::kEps;

constexpr Activation kKinds[] = {Activation::swiglu, Activation::gelu, Activation::relu2};

double formula(Activation kind, double gate, double up) {
  switch (kind) {
    case Activation::swiglu:
      return gate / (1 + std::exp(-gate)) * up;
    case Activation::gelu:
      return up / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (up + 0.044715 * up * up * up)));
    case Activation::relu2:
      return up > 0 ? up * up : 0;
  }
  return 0;
}

template <class T>
struct ActivationCase {
  Activation kind;
  Buffer<T> gate, up, y, dy, dgate, dup;

  ActivationCase(Activation k, int64_t N, int64_t F, int64_t gap = 3)
      : kind(k),
        gate(N, F, gap),
        up(N, F, gap),
        y(N, F, gap),
        dy(N, F, gap),
        dgate(N, F, gap),
        dup(N, F, gap) {
    gate.fill_normal("gate", 2), up.fill_normal("up", 2), dy.fill_normal("dy");
  }
  Mat<const T> gate_or_absent() { return kind == Activation::swiglu ? gate.cmat() : Mat<const T>{}; }
  ActivationFwd<T> fwd() { return {.kind = kind, .y = y.mat(), .gate = gate_or_absent(), .up = up.mat()}; }
  ActivationBwd<T> bwd() {
    return {.kind = kind,
            .dgate = kind == Activation::swiglu ? dgate.mat() : Mat<T>{},
            .dup = dup.mat(),
            .dy = dy.mat(),
            .gate = gate_or_absent(),
            .up = up.mat()};
  }
};

TEST(Activation, ByHand) {
  ActivationCase<float> swiglu(Activation::swiglu, 1, 1), gelu(Activation::gelu, 1, 1),
      relu2(Activation::relu2, 1, 2);
  swiglu.gate[0] = 0.6931471806f, swiglu.up[0] = 3;  // e^-ln2 = 1/2, so silu = ln2 / 1.5
  cpu::activation_fwd<float>({}, swiglu.fwd());
  EXPECT_NEAR(swiglu.y[0], 2 * 0.6931471806, 1e-6);
  gelu.up[0] = 1;
  cpu::activation_fwd<float>({}, gelu.fwd());
  EXPECT_NEAR(gelu.y[0], 0.8411920, 1e-6);
  relu2.up[0] = -3, relu2.up[1] = 3;
  cpu::activation_fwd<float>({}, relu2.fwd());
  EXPECT_EQ(relu2.y[0], 0);
  EXPECT_EQ(relu2.y[1], 9);
}

// Relative: a handful of roundings and an exponential whose argument z, itself rounded, costs |z| eps;
// absolute: below e^-87 the vector exponential is 0.
template <class T>
void equals_formula(Activation kind, int64_t N, int64_t F) {
  ActivationCase<T> k(kind, N, F);
  cpu::activation_fwd<T>({}, k.fwd());
  for (int64_t i = 0; i < k.y.size(); ++i) {
    const double up = k.up[i], gate = k.gate[i], wanted = formula(kind, gate, up);
    const double z =
        kind == Activation::swiglu ? std::abs(gate) : 1.6 * (std::abs(up) + 0.045 * std::abs(up * up * up));
    // tanh in the reference loses its own digits where 1 + tanh is small.
    ASSERT_NEAR(k.y[i], wanted, (8 + 4 * z) * kEps<T> * std::abs(wanted) + 4 * kEps<double> * std::abs(up))
        << i;
  }
  EXPECT_TRUE(k.y.gaps_untouched());
}
TEST(Activation, ForwardEqualsTheFormulaOnRaggedShapes) {
  for (const Activation kind : kKinds)
    for (const int64_t F : {1, 16, 35, 200})
      for (const int64_t N : {1, 5}) {
        equals_formula<float>(kind, N, F);
        equals_formula<double>(kind, N, F);
      }
}

TEST(Activation, BackwardIsTheSlopeOfForward) {
  for (const Activation kind : kKinds) {
    ActivationCase<double> k(kind, 3, 19);
    cpu::activation_bwd<double>({}, k.bwd());
    const auto loss = [&] {
      cpu::activation_fwd<double>({}, k.fwd());
      double sum = 0;
      for (int64_t i = 0; i < k.y.size(); ++i) sum += k.y[i] * k.dy[i];
      return sum;
    };
    test::expect_slopes("dup", k.dup, k.up, loss);
    if (kind == Activation::swiglu) test::expect_slopes("dgate", k.dgate, k.gate, loss);
    EXPECT_TRUE(k.dup.gaps_untouched() && k.dgate.gaps_untouched());
  }
}

TEST(Activation, FloatBackwardEqualsDouble) {
  for (const Activation kind : kKinds) {
    ActivationCase<float> f(kind, 3, 35);
    ActivationCase<double> d(kind, 3, 35);
    cpu::activation_bwd<float>({}, f.bwd());
    cpu::activation_bwd<double>({}, d.bwd());
    // Arguments below 7, so the slope's terms are below 50 and z below 40.
    for (int64_t i = 0; i < d.dup.size(); ++i) ASSERT_NEAR(f.dup[i], d.dup[i], 50 * 16 * kEps<float>) << i;
    for (int64_t i = 0; kind == Activation::swiglu && i < d.dup.size(); ++i)
      ASSERT_NEAR(f.dgate[i], d.dgate[i], 50 * 16 * kEps<float>) << i;
  }
}

TEST(Activation, LargeArgumentsStayFiniteAndNanStaysNan) {
  for (const Activation kind : kKinds) {
    ActivationCase<float> k(kind, 1, 3);
    k.up[0] = k.gate[0] = -1000, k.up[1] = k.gate[1] = 1000, k.up[2] = k.gate[2] = std::nanf("");
    k.dy.fill(1);
    cpu::activation_fwd<float>({}, k.fwd());
    cpu::activation_bwd<float>({}, k.bwd());
    EXPECT_NEAR(k.y[0], 0, 1e-30);
    EXPECT_NEAR(k.y[1], kind == Activation::gelu ? 1000 : 1e6, 1);
    EXPECT_TRUE(std::isnan(k.y[2]));
    EXPECT_NEAR(k.dup[0], 0, 1e-29);  // e^-88 times z' = 2e8
    EXPECT_TRUE(std::isfinite(k.dup[1]));
    EXPECT_TRUE(std::isnan(k.dup[2]));
  }
}

TEST(Activation, GradientsMayReplaceTheInputs) {
  for (const Activation kind : kKinds) {
    ActivationCase<float> apart(kind, 2, 35), inplace(kind, 2, 35);
    cpu::activation_bwd<float>({}, apart.bwd());
    ActivationBwd<float> a = inplace.bwd();
    a.dup = inplace.up.mat();
    if (kind == Activation::swiglu) a.dgate = inplace.gate.mat();
    cpu::activation_bwd<float>({}, a);
    EXPECT_TRUE(inplace.up.same_bits(apart.dup));
    if (kind == Activation::swiglu) {
      EXPECT_TRUE(inplace.gate.same_bits(apart.dgate));
    }
  }
}

TEST(Activation, SameBitsWithOneAndTwoThreads) {
  for (const Activation kind : kKinds) {
    const auto run = [&] {
      ActivationCase<float> k(kind, 40, 1500);
      cpu::activation_fwd<float>({}, k.fwd());
      cpu::activation_bwd<float>({}, k.bwd());
      return k;
    };
    ActivationCase<float> one = test::with_threads(1, run), two = test::with_threads(2, run);
    EXPECT_TRUE(one.y.same_bits(two.y) && one.dup.same_bits(two.dup) && one.dgate.same_bits(two.dgate));
  }
}

TEST(Activation, WrongShapesAreNamed) {
  ActivationCase<float> k(Activation::swiglu, 2, 3);
  test::expect_shape_error(
      [&] {
        ActivationFwd<float> a = k.fwd();
        a.gate = {};
        cpu::activation_fwd<float>({}, a);
      },
      {"activation_fwd: gate", "absent"});
  test::expect_shape_error(
      [&] {
        ActivationBwd<float> a = k.bwd();
        a.dy.rows = 4;
        cpu::activation_bwd<float>({}, a);
      },
      {"activation_bwd: dy", "(2, 3)", "(4, 3)"});
}

}  // namespace
}  // namespace saslm
