#include <cmath>
#include <limits>

#include "kernels/cross_entropy.h"
#include "simt/views.h"
#include "tests/support.h"

namespace saslm {
namespace {

// Rows lie `gap` apart, whose first `pad` elements are pad columns: these hold NaN, the rest of the gap 0.
template <class T>
struct Case {
  int64_t N, V, stride, pad;
  Twin<T> logits, drawn;
  Twin<float> loss, aux_loss;
  Twin<int32_t> targets;
  double softcap = 0, z_weight = 0;

  Case(int64_t n, int64_t v, int64_t gap, int64_t pad_columns = 0)
      : N(n),
        V(v),
        stride(v + gap),
        pad(pad_columns),
        logits(n * stride),
        drawn(n * stride),
        loss(n),
        aux_loss(n),
        targets(n) {
    drawn.draw(1, 3);
    for (int64_t r = 0; r < N; ++r)
      for (int64_t c = V; c < stride; ++c) drawn.set(r * stride + c, c < V + pad ? NAN : 0);
    for (int64_t i = 0; i < N; ++i) targets[i] = int32_t((i * 7919 + V - 1) % V);
    reset();
  }
  void reset() {
    for (int64_t i = 0; i < logits.size(); ++i) logits[i] = drawn[i], logits.twin(i) = drawn.twin(i);
    loss.poison();
    aux_loss.fill(kStart);
  }
  static constexpr double kStart = 0.25;  // what aux_loss was before
  template <class S>
  CrossEntropy<S> args(double scale) {
    using A = Accum<S>;
    const Vec<A> losses = loss.vec<A>(), aux = z_weight != 0 ? aux_loss.vec<A>() : Vec<A>{};
    return {.loss = losses,
            .logits = logits.template mat<S>(N, V + pad, stride),
            .targets = targets.vec<int32_t>(),
            .scale = scale,
            .pad = pad,
            .softcap = softcap,
            .z_weight = z_weight,
            .aux_loss = aux};
  }
};

// A sum of V exponentials: a thread adds V/512 of them and 16 at the edges, then 10 halvings, each rounding
// by 2^-24; an exponential is good to 2^-22, and to 2^-24 of its exponent, which is below 40. So 2^-17 is
// ample below V = 100,000, and storing rounds by kEpsilon.
constexpr double kSum = 0x1p-17;
constexpr double kLogit = 16 * 0x1p-23;  // of a loss near 0: what the largest logit loses in units of log 2

// A cap c costs a logit 4 c 2^-24, and what follows as much; its slope is a difference from 1.
template <class T>
void equals_twin(int64_t N, int64_t V, int64_t gap, double scale, int64_t pad = 0, double softcap = 0,
                 double z_weight = 0) {
  SCOPED_TRACE(testing::Message() << N << " x " << V << " gap " << gap << " scale " << scale << " pad " << pad
                                  << " softcap " << softcap << " z " << z_weight);
  Case<T> k(N, V, gap, pad);
  k.softcap = softcap, k.z_weight = z_weight;
  const double sum = kSum + 8 * softcap * 0x1p-24, share = softcap != 0 ? scale * 0x1p-22 : 0;
  cpu::cross_entropy<double>({}, k.template args<double>(scale));
  SameBits<T> same;
  simt::for_every_schedule([&](Stream stream) {
    for (int64_t i = 0; i < k.logits.size(); ++i) k.logits[i] = k.drawn[i];
    k.loss.poison(), k.aux_loss.restart(Case<T>::kStart);
    cuda::cross_entropy<T>(stream, k.template args<T>(scale));
    k.aux_loss.expect_near(4 * sum, "aux_loss");
    TwinLog loss("loss", Twin<T>::kTypeName), logits("logits", Twin<T>::kTypeName);
    for (int64_t i = 0; i < N; ++i) {
      const double bound = sum * (softcap + k.loss.twin(i)) + kLogit;
      loss.add(std::abs(k.loss[i] - k.loss.twin(i)), bound);
      ASSERT_NEAR(k.loss[i], k.loss.twin(i), bound);
    }
    for (int64_t i = 0; i < k.logits.size(); ++i) {
      // p is small or near 1: beside what is lost of p, the target's own share cancels scale.
      const bool is_target = i % k.stride == k.targets[i / k.stride];
      const double got = double(float(k.logits[i])), w = k.logits.twin(i);
      if (scale == 0 && std::isnan(w)) {  // a pad column, which is kept
        ASSERT_TRUE(std::isnan(got)) << "logits[" << i << "]: got " << got;
        continue;
      }
      const double bound =
          scale == 0 ? 0 : (kEpsilon<T> + sum) * std::abs(w) + (is_target ? sum * scale : 0) + share;
      logits.add(std::abs(got - w), bound);
      ASSERT_LE(std::abs(got - w), bound) << "logits[" << i << "]: got " << got << ", want " << w;
    }
    same.expect(k.logits, "logits");
  });
}

template <class T>
void equals_twin_on_all_shapes() {
  for (const int64_t V : {1, 7, 8, 17, 515}) {
    equals_twin<T>(3, V, 0, 0.25);
    equals_twin<T>(3, V, 5, 0.25);
  }
  equals_twin<T>(4, 1003, 8, 1);
  equals_twin<T>(4, 1003, 0, 0);
  // Pad columns: from within a pack, a pack on, more than there are threads, and a gap behind them.
  equals_twin<T>(3, 250, 6, 0.25, 6);
  equals_twin<T>(3, 250, 6, 0, 6);
  equals_twin<T>(2, 17, 47, 1, 47);
  equals_twin<T>(2, 64, 16, 1, 8);
  equals_twin<T>(2, 1, 1030, 1, 1024);
  // More packs than a thread has copies under way, and than shared memory holds.
  const int64_t width = 16 / int64_t(sizeof(T));
  equals_twin<T>(2, 512 * 10 * width + 3, 1, 0.5);
  equals_twin<T>(1, 512 * 17 * width + 5, 0, 0.5);
  equals_twin<T>(1, 512 * 17 * width + 5, 0, 0);
}
template <class T>
void equals_twin_with_terms() {
  for (const auto& [softcap, z_weight] : {std::pair{0.0, 0.5}, {2.0, 0.0}, {30.0, 1e-3}, {1.0, 0.5}}) {
    for (const int64_t V : {1, 7, 17, 515}) equals_twin<T>(3, V, 5, 0.25, 0, softcap, z_weight);
    equals_twin<T>(3, 250, 6, 1, 6, softcap, z_weight);
    equals_twin<T>(3, 250, 6, 0, 6, softcap, z_weight);
  }
  const int64_t width = 16 / int64_t(sizeof(T));
  equals_twin<T>(1, 512 * 17 * width + 5, 0, 0.5, 0, 4, 0.1);
}
TEST(SimtCrossEntropy, FloatWithSoftCapAndZLossEqualsTwin) {
  equals_twin_with_terms<float>();
}
TEST(SimtCrossEntropy, Bf16WithSoftCapAndZLossEqualsTwin) {
  equals_twin_with_terms<bf16>();
}
TEST(SimtCrossEntropy, FloatEqualsTwin) {
  equals_twin_on_all_shapes<float>();
}
TEST(SimtCrossEntropy, Bf16EqualsTwin) {
  equals_twin_on_all_shapes<bf16>();
}

TEST(SimtCrossEntropy, DISABLED_LargeShapesEqualTwin) {
  equals_twin<bf16>(300, 50304, 0, 1.0 / 300);
  equals_twin<bf16>(300, 50257, 47, 1.0 / 300, 47);
  equals_twin<float>(300, 50257, 47, 1.0 / 300);
}

TEST(SimtCrossEntropy, EveryPlaceOfTheTarget) {
  for (int target = 0; target < 40; ++target) {
    Case<bf16> k(1, 40, 0);
    k.targets[0] = target;
    cpu::cross_entropy<double>({}, k.args<double>(1));
    for (int64_t i = 0; i < 40; ++i) k.logits[i] = k.drawn[i];
    cuda::cross_entropy<bf16>({}, k.args<bf16>(1));
    EXPECT_NEAR(k.loss[0], k.loss.twin(0), kSum * k.loss.twin(0) + kLogit);
    k.logits.expect_near(2 * kEpsilon<bf16>, "dlogits");
  }
}

// At an edge of the row, in a pack of it, everywhere.
TEST(SimtCrossEntropy, NonFiniteLogitGivesNonFiniteLoss) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const float bad : {kInf, -kInf, std::numeric_limits<float>::quiet_NaN()})
    for (const int64_t at : {0, 20, 42, -1})
      for (const auto& [scale, softcap] : {std::pair{0.0, 0.0}, {1.0, 0.0}, {0.0, 5.0}, {1.0, 5.0}}) {
        Case<bf16> k(1, 43, 0);
        k.softcap = softcap;
        for (int64_t i = 0; i < 43; ++i)
          if (i == at || at < 0) k.logits[i] = bf16(bad);
        cuda::cross_entropy<bf16>({}, k.args<bf16>(scale));
        EXPECT_FALSE(std::isfinite(k.loss[0])) << bad << " at " << at;
      }
}

TEST(SimtCrossEntropy, LargeLogitsDoNotOverflow) {
  Case<float> k(1, 600, 0);
  for (int64_t i = 0; i < 600; ++i) k.drawn.set(i, i % 2 ? 1e4 + double(i) : -1e4);
  k.reset();
  cpu::cross_entropy<double>({}, k.args<double>(1));
  for (int64_t i = 0; i < 600; ++i) k.logits[i] = k.drawn[i];
  cuda::cross_entropy<float>({}, k.args<float>(1));
  EXPECT_NEAR(k.loss[0], k.loss.twin(0), 1e4 * 0x1p-22);  // the largest logit is rounded in two units
  k.logits.expect_near(kSum, "dlogits");
}

TEST(SimtCrossEntropy, NoRowsIsNothingToDo) {
  Case<bf16> k(1, 8, 0);
  CrossEntropy<bf16> a = k.args<bf16>(1);
  a.logits.rows = a.targets.size = a.loss.size = 0;
  cuda::cross_entropy<bf16>({}, a);
  EXPECT_TRUE(std::isnan(k.loss[0]));
}

TEST(SimtCrossEntropy, WrongShapeIsNamed) {
  Case<bf16> k(2, 8, 0);
  CrossEntropy<bf16> a = k.args<bf16>(1);
  a.targets.size = 1;
  test::expect_shape_error([&] { cuda::cross_entropy<bf16>({}, a); }, {"cross_entropy", "targets", "2", "1"});
}

}  // namespace
}  // namespace saslm
