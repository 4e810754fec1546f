#include "kernels/norm.h"
#include "tests/support.h"

namespace saslm {
namespace {

using test::Buffer;
using test::kEps;

constexpr double kNormEps = 1e-5;

// Every tensor of one norm, views with gaps between the rows; dx, dw, db start at 1, outputs at NaN.
template <class T>
struct NormCase {
  bool layer;
  Buffer<T> x, w, b, y, rstd, mean, dx, dw, db, dy, partial;

  NormCase(bool is_layer, int64_t N, int64_t C, int64_t gap = 3)
      : layer(is_layer),
        x(N, C, gap),
        w(C),
        b(C),
        y(N, C, gap),
        rstd(N),
        mean(N),
        dx(N, C, gap),
        dw(C),
        db(C),
        dy(N, C, gap),
        partial(norm_bwd_partials(N), 2 * C, 1) {
    x.fill_normal("x", 1.5, 0.7), w.fill_normal("w", 0.5, 1), b.fill_normal("b"), dy.fill_normal("dy");
    dx.fill(1), dw.fill(1), db.fill(1);
  }
  NormFwd<T> fwd() {
    return {.y = y.mat(),
            .rstd = rstd.vec(),
            .mean = layer ? mean.vec() : Vec<T>{},
            .x = x.mat(),
            .w = w.vec(),
            .b = layer ? b.cvec() : Vec<const T>{},
            .eps = kNormEps};
  }
  NormBwd<T> bwd() {
    return {.dx = dx.mat(),
            .dw = dw.vec(),
            .db = layer ? db.vec() : Vec<T>{},
            .dy = dy.mat(),
            .x = x.mat(),
            .w = w.vec(),
            .rstd = rstd.vec(),
            .mean = layer ? mean.cvec() : Vec<const T>{},
            .partial = partial.mat()};
  }
  void run_both() {
    cpu::norm_fwd<T>({}, fwd());
    cpu::norm_bwd<T>({}, bwd());
  }
};

TEST(Norm, RmsnormByHand) {
  NormCase<float> k(false, 1, 2, 0);
  k.x[0] = 3, k.x[1] = 4, k.w[0] = 1, k.w[1] = 2;
  cpu::norm_fwd<float>({}, k.fwd());
  EXPECT_NEAR(k.y[0], 3 / std::sqrt(12.5), 1e-6);  // mean square = (9 + 16) / 2
  EXPECT_NEAR(k.y[1], 8 / std::sqrt(12.5), 1e-6);
}

TEST(Norm, LayernormByHand) {
  NormCase<double> k(true, 1, 2, 0);
  k.x[0] = 3, k.x[1] = 7, k.w[0] = 1, k.w[1] = 3, k.b[0] = 10, k.b[1] = 20;
  cpu::norm_fwd<double>({}, k.fwd());
  EXPECT_NEAR(k.mean[0], 5, 1e-15);  // deviations -2 and 2, so the normalised row is -1, 1
  EXPECT_NEAR(k.rstd[0], 0.5, 1e-6);
  EXPECT_NEAR(k.y[0], 9, 1e-5);
  EXPECT_NEAR(k.y[1], 23, 1e-5);
}

// A sum of C terms in T is wrong by at most C eps of the sum of magnitudes, here below 4 a term.
template <class T>
void equals_formula(bool layer, int64_t N, int64_t C) {
  NormCase<T> k(layer, N, C);
  cpu::norm_fwd<T>({}, k.fwd());
  for (int64_t n = 0; n < N; ++n) {
    double mean = 0, square = 0;
    for (int64_t c = 0; c < C; ++c) mean += layer ? k.x(n, c) / double(C) : 0;
    for (int64_t c = 0; c < C; ++c) square += (k.x(n, c) - mean) * (k.x(n, c) - mean) / double(C);
    const double r = 1 / std::sqrt(square + kNormEps), tolerance = (double(C) + 8) * kEps<T> * (1 + r) * 8;
    for (int64_t c = 0; c < C; ++c)
      ASSERT_NEAR(k.y(n, c), (k.x(n, c) - mean) * r * k.w[c] + (layer ? k.b[c] : 0), tolerance)
          << N << "x" << C << " at " << n << "," << c;
    ASSERT_NEAR(k.rstd[n], r, tolerance * r);
  }
  EXPECT_TRUE(k.y.gaps_untouched());
}
TEST(Norm, ForwardEqualsTheFormulaOnRaggedShapes) {
  for (const bool layer : {false, true})
    for (const int64_t C : {2, 5, 16, 33, 100})
      for (const int64_t N : {1, 17}) {
        equals_formula<float>(layer, N, C);
        equals_formula<double>(layer, N, C);
      }
}

void backward_is_slope(bool layer) {
  NormCase<double> k(layer, 35, 11);  // 35 rows: two partials, 18 + 17
  k.run_both();
  const auto loss = [&] {
    cpu::norm_fwd<double>({}, k.fwd());
    double sum = 0;
    for (int64_t i = 0; i < k.x.size(); ++i) sum += k.y[i] * k.dy[i] + k.x[i];  // x: what dx = 1 stands for
    for (int64_t c = 0; c < k.w.size(); ++c) sum += k.w[c] + k.b[c];
    return sum;
  };
  test::expect_slopes("dx", k.dx, k.x, loss);
  test::expect_slopes("dw", k.dw, k.w, loss);
  if (layer) test::expect_slopes("db", k.db, k.b, loss);
  EXPECT_TRUE(k.dx.gaps_untouched());
}
TEST(Norm, RmsnormBackwardAddsTheSlope) {
  backward_is_slope(false);
}
TEST(Norm, LayernormBackwardAddsTheSlope) {
  backward_is_slope(true);
}

TEST(Norm, FloatBackwardEqualsDouble) {
  for (const bool layer : {false, true}) {
    NormCase<float> f(layer, 70, 37);
    NormCase<double> d(layer, 70, 37);
    f.run_both(), d.run_both();
    // Row sums of 37 terms and column sums of 70, each term below 20.
    for (int64_t i = 0; i < d.dx.size(); ++i) ASSERT_NEAR(f.dx[i], d.dx[i], 37 * 20 * kEps<float>);
    for (int64_t c = 0; c < 37; ++c) ASSERT_NEAR(f.dw[c], d.dw[c], 70 * 20 * kEps<float>);
    for (int64_t c = 0; layer && c < 37; ++c) ASSERT_NEAR(f.db[c], d.db[c], 70 * 20 * kEps<float>);
  }
}

TEST(Norm, SameBitsWithOneAndTwoThreads) {
  const auto run = [] {
    NormCase<float> k(true, 129, 50);
    k.run_both();
    return k;
  };
  NormCase<float> one = test::with_threads(1, run), two = test::with_threads(2, run);
  EXPECT_TRUE(one.y.same_bits(two.y));
  EXPECT_TRUE(one.dx.same_bits(two.dx));
  EXPECT_TRUE(one.dw.same_bits(two.dw));
  EXPECT_TRUE(one.db.same_bits(two.db));
}

TEST(Norm, WrongShapesAreNamed) {
  NormCase<float> k(true, 3, 4);
  test::expect_shape_error(
      [&] {
        NormFwd<float> a = k.fwd();
        a.y.cols = 5;
        cpu::norm_fwd<float>({}, a);
      },
      {"norm_fwd", "y", "(3, 4)", "(3, 5)"});
  test::expect_shape_error(
      [&] {
        NormFwd<float> a = k.fwd();
        a.mean = {};
        cpu::norm_fwd<float>({}, a);
      },
      {"norm_fwd", "b and mean", "layernorm"});
  test::expect_shape_error(
      [&] {
        NormBwd<float> a = k.bwd();
        a.partial.rows = 2;
        cpu::norm_bwd<float>({}, a);
      },
      {"norm_bwd", "partial", "(1, 8)", "(2, 8)"});
}

}  // namespace
}  // namespace saslm
