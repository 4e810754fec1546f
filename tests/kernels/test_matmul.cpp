#include "kernels/matmul.h"
#include "tests/support.h"

namespace saslm {
namespace {

using test::Buffer;
using test::kEps;

// Every tensor of one linear layer, rows with gaps. y and dx start at NaN, dw and dbias at 1.
template <class T>
struct MatmulCase {
  int64_t N, in, out;
  Buffer<T> x, w, bias, residual, y, dy, dx, dw, dbias;

  MatmulCase(int64_t rows, int64_t inputs, int64_t outputs, int64_t gap = 3)
      : N(rows),
        in(inputs),
        out(outputs),
        x(N, in, gap),
        w(out, in, gap),
        bias(out),
        residual(N, out, gap),
        y(N, out, gap),
        dy(N, out, gap),
        dx(N, in, gap),
        dw(out, in, gap),
        dbias(out) {
    x.fill_normal("x"), w.fill_normal("w"), bias.fill_normal("bias"), residual.fill_normal("residual");
    dy.fill_normal("dy"), dw.fill(1), dbias.fill(1);
  }
  MatmulFwd<T> fwd(bool with_bias = true, bool with_residual = true) {
    return {.y = y.mat(),
            .x = x.mat(),
            .w = w.mat(),
            .bias = with_bias ? bias.cvec() : Vec<const T>{},
            .residual = with_residual ? residual.cmat() : Mat<const T>{}};
  }
  MatmulBwd<T> bwd(bool accumulate = false) {
    return {.dx = dx.mat(),
            .dx_accumulate = accumulate,
            .dw = dw.mat(),
            .dbias = dbias.vec(),
            .dy = dy.mat(),
            .x = x.mat(),
            .w = w.mat()};
  }
};

TEST(Matmul, ByHand) {
  MatmulCase<float> k(1, 2, 2);
  k.x[0] = 2, k.x[1] = 3;
  k.w(0, 0) = 1, k.w(0, 1) = 4, k.w(1, 0) = -1, k.w(1, 1) = 5;
  k.bias[0] = 10, k.bias[1] = 20, k.residual[0] = 100, k.residual[1] = 200;
  cpu::matmul_fwd<float>({}, k.fwd());
  EXPECT_EQ(k.y[0], 124);  // 2*1 + 3*4 + 10 + 100
  EXPECT_EQ(k.y[1], 233);  // -2 + 15 + 20 + 200
  k.dy[0] = 1, k.dy[1] = 2;
  cpu::matmul_bwd<float>({}, k.bwd());
  EXPECT_EQ(k.dx[0], -1);    // 1*1 + 2*(-1)
  EXPECT_EQ(k.dx[1], 14);    // 1*4 + 2*5
  EXPECT_EQ(k.dw(1, 0), 5);  // 1 + 2*2
  EXPECT_EQ(k.dbias[1], 3);  // 1 + 2
}

// A sum of K products in T is wrong by at most (K + 2) eps times the sum of magnitudes.
struct Sum {
  double value = 0, magnitude = 0;
  int64_t terms = 2;
  void add(double term) { value += term, magnitude += std::abs(term), ++terms; }
};
template <class T>
void expect_sum(T got, const Sum& sum, const char* name, int64_t i, int64_t j) {
  ASSERT_NEAR(got, sum.value, double(sum.terms) * kEps<T> * sum.magnitude) << name << " " << i << "," << j;
}

template <class T>
void forward_equals_formula(int64_t N, int64_t in, int64_t out, bool bias, bool residual) {
  MatmulCase<T> k(N, in, out);
  cpu::matmul_fwd<T>({}, k.fwd(bias, residual));
  for (int64_t n = 0; n < N; ++n)
    for (int64_t o = 0; o < out; ++o) {
      Sum sum;
      if (bias) sum.add(k.bias[o]);
      if (residual) sum.add(k.residual(n, o));
      for (int64_t i = 0; i < in; ++i) sum.add(double(k.x(n, i)) * double(k.w(o, i)));
      expect_sum(k.y(n, o), sum, "y", n, o);
    }
  EXPECT_TRUE(k.y.gaps_untouched());
}

template <class T>
void backward_equals_formula(int64_t N, int64_t in, int64_t out, bool accumulate) {
  MatmulCase<T> k(N, in, out);
  if (accumulate) k.dx.fill(1);
  cpu::matmul_bwd<T>({}, k.bwd(accumulate));
  for (int64_t n = 0; n < N; ++n)
    for (int64_t i = 0; i < in; ++i) {
      Sum sum;
      if (accumulate) sum.add(1);
      for (int64_t o = 0; o < out; ++o) sum.add(double(k.dy(n, o)) * double(k.w(o, i)));
      expect_sum(k.dx(n, i), sum, "dx", n, i);
    }
  for (int64_t o = 0; o < out; ++o) {
    Sum column;
    column.add(1);
    for (int64_t n = 0; n < N; ++n) column.add(k.dy(n, o));
    expect_sum(k.dbias[o], column, "dbias", o, 0);
    for (int64_t i = 0; i < in; ++i) {
      Sum sum;
      sum.add(1);
      for (int64_t n = 0; n < N; ++n) sum.add(double(k.dy(n, o)) * double(k.x(n, i)));
      expect_sum(k.dw(o, i), sum, "dw", o, i);
    }
  }
  EXPECT_TRUE(k.dx.gaps_untouched() && k.dw.gaps_untouched());
}

// (N, in, out): one row, odd sizes, several tiles each way, more rows than dw takes at a time (1024).
constexpr int64_t kProducts[][3] = {{1, 1, 1},    {1, 37, 50},   {3, 16, 5},    {5, 1, 129},
                                    {17, 33, 70}, {130, 7, 401}, {129, 390, 9}, {1037, 5, 19}};

TEST(Matmul, ForwardEqualsTheFormulaOnRaggedShapes) {
  for (const auto& [N, in, out] : kProducts)
    for (const bool bias : {false, true})
      for (const bool residual : {false, true}) {
        forward_equals_formula<float>(N, in, out, bias, residual);
        forward_equals_formula<double>(N, in, out, bias, residual);
      }
}
TEST(Matmul, BackwardEqualsTheFormulaOnRaggedShapes) {
  for (const auto& [N, in, out] : kProducts)
    for (const bool accumulate : {false, true}) {
      backward_equals_formula<float>(N, in, out, accumulate);
      backward_equals_formula<double>(N, in, out, accumulate);
    }
}

TEST(Matmul, BackwardIsTheSlopeOfForward) {
  MatmulCase<double> k(5, 7, 6);
  k.dw.fill(0), k.dbias.fill(0);
  cpu::matmul_bwd<double>({}, k.bwd());
  const auto loss = [&] {
    cpu::matmul_fwd<double>({}, k.fwd());
    double sum = 0;
    for (int64_t i = 0; i < k.y.size(); ++i) sum += k.y[i] * k.dy[i];
    return sum;
  };
  test::expect_slopes("dx", k.dx, k.x, loss);
  test::expect_slopes("dw", k.dw, k.w, loss);
  test::expect_slopes("dbias", k.dbias, k.bias, loss);
}

TEST(Matmul, ResidualMayBeTheOutput) {
  for (const bool bias : {false, true}) {
    MatmulCase<float> apart(9, 20, 40), together(9, 20, 40);
    together.y.fill_normal("residual");
    cpu::matmul_fwd<float>({}, apart.fwd(bias));
    MatmulFwd<float> a = together.fwd(bias);
    a.residual = together.y.cmat();
    cpu::matmul_fwd<float>({}, a);
    EXPECT_TRUE(together.y.same_bits(apart.y));
  }
}

TEST(Matmul, AbsentGradientsAreLeftAlone) {
  MatmulCase<float> all(6, 5, 20), some(6, 5, 20);
  const MatmulBwd<float> every = some.bwd();
  cpu::matmul_bwd<float>({}, all.bwd());

  MatmulBwd<float> only = every;
  only.dx = {}, only.dw = {}, only.x = {}, only.w = {};
  cpu::matmul_bwd<float>({}, only);
  EXPECT_TRUE(some.dbias.same_bits(all.dbias));

  only = every;
  only.dw = {}, only.dbias = {}, only.x = {};
  cpu::matmul_bwd<float>({}, only);
  EXPECT_TRUE(some.dx.same_bits(all.dx));

  only = every;
  only.dx = {}, only.dbias = {}, only.w = {};
  cpu::matmul_bwd<float>({}, only);
  EXPECT_TRUE(some.dw.same_bits(all.dw));
  EXPECT_TRUE(some.dbias.same_bits(all.dbias));  // added to once only
}

TEST(Matmul, SameBitsWithOneTwoAndThreeThreads) {
  // One tile; a row; several tiles; the library's own threshold for threads passed within one tile.
  constexpr int64_t kThreaded[][3] = {
      {4, 300, 40}, {1, 700, 300}, {200, 300, 500}, {128, 2000, 48}, {700, 384, 64}};
  for (const auto& shape : kThreaded) {
    const auto run = [&] {
      MatmulCase<float> k(shape[0], shape[1], shape[2], 0);
      cpu::matmul_fwd<float>({}, k.fwd());
      cpu::matmul_bwd<float>({}, k.bwd());
      return k;
    };
    SCOPED_TRACE(testing::PrintToString(shape));
    MatmulCase<float> one = test::with_threads(1, run);
    for (const int threads : {2, 3}) {
      MatmulCase<float> more = test::with_threads(threads, run);
      EXPECT_TRUE(one.y.same_bits(more.y));
      EXPECT_TRUE(one.dx.same_bits(more.dx));
      EXPECT_TRUE(one.dw.same_bits(more.dw));
      EXPECT_TRUE(one.dbias.same_bits(more.dbias));
    }
  }
}

TEST(Matmul, WrongShapesAreNamed) {
  MatmulCase<float> k(3, 4, 5);
  test::expect_shape_error(
      [&] {
        MatmulFwd<float> a = k.fwd();
        a.w.cols = 3;
        cpu::matmul_fwd<float>({}, a);
      },
      {"matmul_fwd: w", "(5, 4)", "(5, 3)"});
  test::expect_shape_error(
      [&] {
        MatmulBwd<float> a = k.bwd();
        a.dw.rows = 6;
        cpu::matmul_bwd<float>({}, a);
      },
      {"matmul_bwd: dw", "(5, 4)", "(6, 4)"});
  test::expect_shape_error(
      [&] {
        MatmulBwd<float> a = k.bwd();
        a.w = {};
        cpu::matmul_bwd<float>({}, a);
      },
      {"matmul_bwd: w", "absent"});
}

}  // namespace
}  // namespace saslm
