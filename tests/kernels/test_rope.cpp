#include "kernels/rope.h"
#include "tests/support.h"

namespace saslm {
namespace {

using test::Buffer;
using test::kEps;

template <class T>
struct Table {
  Buffer<T> cos, sin;
  Table(int64_t positions, int64_t half, double base = 10000)
      : cos(positions, half, 2), sin(positions, half, 2) {
    cpu::rope_fill<T>({}, {.table = view(), .base = base});
  }
  RopeTable<T> view() { return {cos.mat(), sin.mat()}; }
};

TEST(Rope, AQuarterTurnByHand) {
  Buffer<float> x(1, 2), cos(1, 1), sin(1, 1);
  x[0] = 3, x[1] = 5, cos[0] = 0, sin[0] = 1;
  const RopeTable<float> table{cos.mat(), sin.mat()};
  cpu::rope<float>({}, {.x = heads_BTHD(x.data(), 1, 1, 1, 2), .table = table});
  EXPECT_EQ(x[0], -5);
  EXPECT_EQ(x[1], 3);
}

TEST(Rope, TableHoldsPositionTimesFrequency) {
  Table<double> t(8, 4, 100);
  EXPECT_EQ(t.cos(0, 3), 1);
  EXPECT_NEAR(t.sin(5, 0), std::sin(5.0), 1e-15);
  EXPECT_NEAR(t.cos(5, 2), std::cos(5.0 / 10), 1e-15);  // 100^(-2*2/8) = 1/10
  EXPECT_TRUE(t.cos.gaps_untouched() && t.sin.gaps_untouched());
}

template <class T>
void equals_formula(int64_t E, bool head_major, bool inverse) {
  constexpr int64_t B = 2, kT = 19, H = 3, kStart = 2, kGap = 5;  // the gap must stay as it is
  Table<T> table(kStart + kT, E / 2);
  Buffer<T> x(B * kT * H, E, kGap), before(B * kT * H, E, kGap);
  x.fill_normal("x"), before.fill_normal("x");
  const int64_t row = E + kGap;
  const Heads<T> heads = head_major ? Heads<T>{x.data(), B, kT, H, E, H * kT * row, row, kT * row}
                                    : Heads<T>{x.data(), B, kT, H, E, kT * H * row, H * row, row};
  cpu::rope<T>({}, {.x = heads, .table = table.view(), .start = kStart, .inverse = inverse});
  for (int64_t b = 0; b < B; ++b)
    for (int64_t t = 0; t < kT; ++t)
      for (int64_t h = 0; h < H; ++h)
        for (int64_t i = 0; i < E / 2; ++i) {
          const T* const was = before.data() + (heads.at(b, t, h) - x.data());
          const T* const is = heads.at(b, t, h);
          const double angle =
              (inverse ? -1 : 1) * double(kStart + t) * std::pow(10000, -2.0 * double(i) / double(E));
          // Two products and a sum of values below 5, cos and sin rounded once.
          const double tolerance = 4 * 5 * kEps<T>;
          ASSERT_NEAR(is[i], was[i] * std::cos(angle) - was[i + E / 2] * std::sin(angle), tolerance);
          ASSERT_NEAR(is[i + E / 2], was[i] * std::sin(angle) + was[i + E / 2] * std::cos(angle), tolerance);
        }
  EXPECT_TRUE(x.gaps_untouched());
}
TEST(Rope, EqualsTheFormulaInBothLayoutsAndDirections) {
  for (const int64_t E : {2, 10, 64, 96})
    for (const bool head_major : {false, true})
      for (const bool inverse : {false, true}) {
        equals_formula<float>(E, head_major, inverse);
        equals_formula<double>(E, head_major, inverse);
      }
}

TEST(Rope, OfTheFirstFeaturesOfWiderHeadsTurnsTheseAlone) {
  constexpr int64_t kT = 7, H = 2, kWidth = 11, kRotated = 6;
  Table<double> table(kT, kRotated / 2);
  Buffer<double> x(kT * H, kWidth), before(kT * H, kWidth);
  x.fill_normal("x"), before.fill_normal("x");
  Heads<double> heads = heads_BTHD(x.data(), 1, kT, H, kWidth);
  heads.D = kRotated;
  cpu::rope<double>({}, {.x = heads, .table = table.view()});
  for (int64_t row = 0; row < kT * H; ++row) {
    for (int64_t i = 0; i < kRotated / 2; ++i) {
      const double angle = double(row / H) * std::pow(10000, -2.0 * double(i) / double(kRotated));
      const double low = before(row, i), high = before(row, i + kRotated / 2);
      EXPECT_NEAR(x(row, i), low * std::cos(angle) - high * std::sin(angle), 1e-14);
      EXPECT_NEAR(x(row, i + kRotated / 2), low * std::sin(angle) + high * std::cos(angle), 1e-14);
    }
    for (int64_t i = kRotated; i < kWidth; ++i) EXPECT_EQ(x(row, i), before(row, i));
  }
}

TEST(Rope, BackwardIsTheSlopeOfForward) {
  constexpr int64_t kT = 3, E = 6;
  Table<double> table(kT, E / 2);
  Buffer<double> x(kT, E), dy(kT, E), dx(kT, E);
  x.fill_normal("x"), dy.fill_normal("dy"), dx.fill_normal("dy");
  cpu::rope<double>({}, {.x = heads_BTHD(dx.data(), 1, kT, 1, E), .table = table.view(), .inverse = true});
  test::expect_slopes("dx", dx, x, [&] {
    Buffer<double> y = x;
    cpu::rope<double>({}, {.x = heads_BTHD(y.data(), 1, kT, 1, E), .table = table.view()});
    double sum = 0;
    for (int64_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  });
}

TEST(Rope, SameBitsWithOneAndTwoThreads) {
  const auto run = [] {
    Table<float> table(40, 16);
    Buffer<float> x(2 * 40 * 3, 32);
    x.fill_normal("x");
    cpu::rope<float>({}, {.x = heads_BTHD(x.data(), 2, 40, 3, 32), .table = table.view()});
    return x;
  };
  EXPECT_TRUE(test::with_threads(1, run).same_bits(test::with_threads(2, run)));
}

TEST(Rope, WrongShapesAreNamed) {
  Table<float> table(4, 3);
  Buffer<float> x(5, 6);
  x.fill(0);
  test::expect_shape_error(
      [&] { cpu::rope<float>({}, {.x = heads_BTHD(x.data(), 1, 5, 1, 6), .table = table.view()}); },
      {"rope: table", "start + T = 5 rows", "has 4"});
  test::expect_shape_error(
      [&] { cpu::rope<float>({}, {.x = heads_BTHD(x.data(), 1, 4, 1, 4), .table = table.view()}); },
      {"rope: table.cos", "(4, 2)", "(4, 3)"});
  test::expect_shape_error(
      [&] { cpu::rope<float>({}, {.x = heads_BTHD(x.data(), 1, 4, 1, 5), .table = table.view()}); },
      {"even width", "has 5"});
}

}  // namespace
}  // namespace saslm
