#include "kernels/repeat_heads.h"
#include "tests/support.h"

namespace saslm {
namespace {

using test::Buffer;

// Rows of D features with a gap behind each, as a view of some features of wider heads has.
template <class T>
Heads<T> view(Buffer<T>& buffer, int64_t B, int64_t T_, int64_t H, int64_t D) {
  const int64_t row = buffer.mat().stride;
  return {buffer.data(), B, T_, H, D, T_ * H * row, H * row, row};
}

TEST(RepeatHeads, TwoHeadsToFourByHand) {
  Buffer<float> x(2, 2), y(4, 2);
  x[0] = 1, x[1] = 2, x[2] = 3, x[3] = 4;
  cpu::repeat_heads_fwd<float>({}, {.y = view(y, 1, 1, 4, 2), .x = view(x, 1, 1, 2, 2)});
  const float wanted[] = {1, 2, 1, 2, 3, 4, 3, 4};
  for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(y[i], wanted[i]) << i;
}

TEST(RepeatHeads, BackwardSumsAGroupByHand) {
  Buffer<float> dx(2, 2), dy(4, 2);
  for (int64_t i = 0; i < 8; ++i) dy[i] = float(i + 1);
  cpu::repeat_heads_bwd<float>({}, {.dx = view(dx, 1, 1, 2, 2), .dy = view(dy, 1, 1, 4, 2)});
  const float wanted[] = {1 + 3, 2 + 4, 5 + 7, 6 + 8};
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(dx[i], wanted[i]) << i;
}

template <class T>
void repeat_equals_formula(int64_t G, int64_t H, int64_t D, int64_t gap) {
  constexpr int64_t B = 2, kT = 19;
  Buffer<T> x(B * kT * G, D, gap), y(B * kT * H, D, gap + 3), dy(B * kT * H, D, gap), dx(B * kT * G, D, 2);
  x.fill_normal("x"), dy.fill_normal("dy");
  cpu::repeat_heads_fwd<T>({}, {.y = view(y, B, kT, H, D), .x = view(x, B, kT, G, D)});
  cpu::repeat_heads_bwd<T>({}, {.dx = view(dx, B, kT, G, D), .dy = view(dy, B, kT, H, D)});
  for (int64_t n = 0; n < B * kT; ++n)
    for (int64_t d = 0; d < D; ++d)
      for (int64_t g = 0; g < G; ++g) {
        double sum = 0;
        for (int64_t h = g * H / G; h < (g + 1) * H / G; ++h) {
          ASSERT_EQ(y(n * H + h, d), x(n * G + g, d)) << n << " " << h << " " << d;
          sum += double(dy(n * H + h, d));
        }
        // At most H roundings of sums below 5 H.
        ASSERT_NEAR(dx(n * G + g, d), sum, double(5 * H * H) * test::kEps<T>) << n << " " << g << " " << d;
      }
  EXPECT_TRUE(y.gaps_untouched() && dx.gaps_untouched());
}
TEST(RepeatHeads, EqualsTheFormulaForAllShapes) {
  for (const auto& [G, H] : {std::pair{1, 1}, {1, 13}, {3, 3}, {2, 6}})
    for (const int64_t D : {1, 16, 33, 64})
      for (const int64_t gap : {0, 5}) {
        repeat_equals_formula<float>(G, H, D, gap);
        repeat_equals_formula<double>(G, H, D, gap);
      }
}

TEST(RepeatHeads, BackwardIsTheSlopeOfForward) {
  constexpr int64_t kT = 3, G = 2, H = 4, D = 3;
  Buffer<double> x(kT * G, D), dy(kT * H, D), dx(kT * G, D);
  x.fill_normal("x"), dy.fill_normal("dy");
  cpu::repeat_heads_bwd<double>({}, {.dx = view(dx, 1, kT, G, D), .dy = view(dy, 1, kT, H, D)});
  test::expect_slopes("dx", dx, x, [&] {
    Buffer<double> y(kT * H, D);
    cpu::repeat_heads_fwd<double>({}, {.y = view(y, 1, kT, H, D), .x = view(x, 1, kT, G, D)});
    double sum = 0;
    for (int64_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  });
}

TEST(RepeatHeads, SameBitsWithOneAndTwoThreads) {
  const auto run = [] {
    Buffer<float> dy(2 * 40 * 6, 20), dx(2 * 40, 20);
    dy.fill_normal("dy");
    cpu::repeat_heads_bwd<float>({}, {.dx = view(dx, 2, 40, 1, 20), .dy = view(dy, 2, 40, 6, 20)});
    return dx;
  };
  EXPECT_TRUE(test::with_threads(1, run).same_bits(test::with_threads(2, run)));
}

TEST(RepeatHeads, WrongShapesAreNamed) {
  Buffer<float> x(12, 4), y(12, 4);
  const auto fwd = [&](int64_t G, int64_t H, int64_t D) {
    cpu::repeat_heads_fwd<float>({}, {.y = view(y, 1, 2, H, 4), .x = view(x, 1, 2, G, D)});
  };
  test::expect_shape_error([&] { fwd(4, 6, 4); }, {"repeat_heads_fwd: x", "a divisor of 6", "has 4"});
  test::expect_shape_error([&] { fwd(2, 6, 3); }, {"repeat_heads_fwd: x", "(1, 2, 2, 4)", "(1, 2, 2, 3)"});
  test::expect_shape_error(
      [&] { cpu::repeat_heads_bwd<float>({}, {.dx = view(x, 1, 2, 6, 4), .dy = view(y, 2, 1, 6, 4)}); },
      {"repeat_heads_bwd: dx", "(2, 1, 6, 4)", "(1, 2, 6, 4)"});
}

}  // namespace
}  // namespace saslm
