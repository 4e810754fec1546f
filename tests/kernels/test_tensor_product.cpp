#include "kernels/tensor_product.h"
#include "tests/support.h"

namespace saslm {
namespace {

using test::Buffer;

// Every tensor the operation touches; rows lie `gap` apart.
template <class T>
struct TensorProductCase {
  int64_t B, T_, R, H, D;
  Buffer<T> y, a, b, dy, da, db;

  TensorProductCase(int64_t B_, int64_t t, int64_t r, int64_t h, int64_t d, int64_t gap = 0)
      : B(B_),
        T_(t),
        R(r),
        H(h),
        D(d),
        y(B * t * h, d, gap),
        a(B * t * r, h, gap),
        b(B * t * r, d, gap),
        dy(B * t * h, d, gap),
        da(B * t * r, h, gap),
        db(B * t * r, d, gap) {
    a.fill_normal("a"), b.fill_normal("b"), dy.fill_normal("dy");
  }
  Heads<T> view(Buffer<T>& x, int64_t heads, int64_t width) const {
    const int64_t row = x.mat().stride;
    return {x.data(), B, T_, heads, width, T_ * heads * row, heads * row, row};
  }
  void fwd() { cpu::tensor_product_fwd<T>({}, {.y = view(y, H, D), .a = view(a, R, H), .b = view(b, R, D)}); }
  void bwd() {
    cpu::tensor_product_bwd<T>({}, {.da = view(da, R, H),
                                    .db = view(db, R, D),
                                    .dy = view(dy, H, D),
                                    .a = view(a, R, H),
                                    .b = view(b, R, D)});
  }
};

TEST(TensorProduct, TwoRanksByHand) {
  TensorProductCase<float> k(1, 1, 2, 2, 3);
  const float a[] = {1, 2, 3, 4}, b[] = {1, 0, 2, 0, 1, 1};  // a: rank 0 has (1, 2), rank 1 (3, 4)
  for (int64_t i = 0; i < 4; ++i) k.a[i] = a[i];
  for (int64_t i = 0; i < 6; ++i) k.b[i] = b[i];
  k.fwd();
  const float y[] = {0.5, 1.5, 2.5, 1, 2, 4};  // head 0: (1 (1,0,2) + 3 (0,1,1)) / 2
  for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(k.y[i], y[i]) << i;

  k.dy.fill(0);
  k.dy[2] = 1;  // head 0, feature 2
  k.bwd();
  const float da[] = {1, 0, 0.5, 0}, db[] = {0, 0, 0.5, 0, 0, 1.5};
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(k.da[i], da[i]) << i;
  for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(k.db[i], db[i]) << i;
}

template <class T>
void product_equals_formula(int64_t R, int64_t H, int64_t D, int64_t gap) {
  SCOPED_TRACE(testing::Message() << "R " << R << " H " << H << " D " << D << " gap " << gap);
  TensorProductCase<T> k(2, 9, R, H, D, gap);
  k.fwd();
  k.bwd();
  // Sums of n products of normal values: each of 2 n roundings is wrong by kEps of at most about 20 n.
  const auto near = [&](double got, double wanted, int64_t n) {
    ASSERT_NEAR(got, wanted, 2 * test::kEps<T> * 20 * double(n));
  };
  for (int64_t token = 0; token < 18; ++token) {
    const int64_t r0 = token * R, h0 = token * H;
    for (int64_t h = 0; h < H; ++h)
      for (int64_t d = 0; d < D; ++d) {
        double y = 0;
        for (int64_t r = 0; r < R; ++r) y += double(k.a(r0 + r, h)) * double(k.b(r0 + r, d));
        near(k.y(h0 + h, d), y / double(R), R);
      }
    for (int64_t r = 0; r < R; ++r) {
      for (int64_t h = 0; h < H; ++h) {
        double da = 0;
        for (int64_t d = 0; d < D; ++d) da += double(k.dy(h0 + h, d)) * double(k.b(r0 + r, d));
        near(k.da(r0 + r, h), da / double(R), D);
      }
      for (int64_t d = 0; d < D; ++d) {
        double db = 0;
        for (int64_t h = 0; h < H; ++h) db += double(k.a(r0 + r, h)) * double(k.dy(h0 + h, d));
        near(k.db(r0 + r, d), db / double(R), H);
      }
    }
  }
  EXPECT_TRUE(k.y.gaps_untouched() && k.da.gaps_untouched() && k.db.gaps_untouched());
}
TEST(TensorProduct, EqualsTheFormulaForAllShapes) {
  for (const int64_t R : {1, 2, 6})
    for (const int64_t H : {1, 5, 16, 34})
      for (const int64_t D : {1, 10, 16, 64, 96})
        for (const int64_t gap : {0, 3}) {
          product_equals_formula<float>(R, H, D, gap);
          product_equals_formula<double>(R, H, D, gap);
        }
}

TEST(TensorProduct, BackwardIsTheSlopeOfForward) {
  TensorProductCase<double> k(2, 2, 3, 5, 6);
  k.bwd();
  const auto dot = [&] {
    k.fwd();
    double sum = 0;
    for (int64_t i = 0; i < k.y.size(); ++i) sum += k.y[i] * k.dy[i];
    return sum;
  };
  test::expect_slopes("da", k.da, k.a, dot);
  test::expect_slopes("db", k.db, k.b, dot);
}

TEST(TensorProduct, SameBitsWithOneAndTwoThreads) {
  const auto run = [] {
    TensorProductCase<float> k(2, 40, 6, 13, 20);
    k.fwd();
    k.bwd();
    return k;
  };
  TensorProductCase<float> one = test::with_threads(1, run), two = test::with_threads(2, run);
  EXPECT_TRUE(one.y.same_bits(two.y) && one.da.same_bits(two.da) && one.db.same_bits(two.db));
}

TEST(TensorProduct, WrongShapesAreNamed) {
  TensorProductCase<float> k(1, 2, 3, 4, 5);
  const auto fwd = [&](int64_t a_ranks, int64_t a_heads, int64_t b_ranks) {
    cpu::tensor_product_fwd<float>(
        {}, {.y = k.view(k.y, 4, 5), .a = k.view(k.a, a_ranks, a_heads), .b = k.view(k.b, b_ranks, 5)});
  };
  test::expect_shape_error([&] { fwd(3, 3, 3); }, {"tensor_product_fwd: a", "(1, 2, 3, 4)", "(1, 2, 3, 3)"});
  test::expect_shape_error([&] { fwd(3, 4, 2); }, {"tensor_product_fwd: b", "(1, 2, 3, 5)", "(1, 2, 2, 5)"});
  test::expect_shape_error(
      [&] {
        cpu::tensor_product_bwd<float>({}, {.da = k.view(k.da, 3, 4),
                                            .dy = k.view(k.dy, 4, 5),
                                            .a = k.view(k.a, 3, 4),
                                            .b = k.view(k.b, 3, 5)});
      },
      {"tensor_product_bwd: db", "absent"});
}

}  // namespace
}  // namespace saslm
