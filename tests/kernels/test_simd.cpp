#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"
#include "tests/support.h"

namespace saslm {
namespace {

using namespace cpu;
using test::Buffer;
using test::kEps;

constexpr float kInf = std::numeric_limits<float>::infinity();

float exp1(float x) {
  return cpu::exp(splat(x))[0];
}

TEST(Simd, ExpIsWithinTwoUlp) {
  for (double x = -86.9; x < 88; x += 0.0137) {
    const double wanted = std::exp(double(float(x)));
    ASSERT_NEAR(exp1(float(x)), wanted, 2 * kEps<float> * wanted) << x;
  }
}

TEST(Simd, ExpAtTheEdges) {
  EXPECT_EQ(exp1(0), 1);
  EXPECT_EQ(exp1(-kInf), 0);
  EXPECT_EQ(exp1(-88), 0);
  EXPECT_EQ(exp1(kInf), exp1(88));
  EXPECT_TRUE(std::isfinite(exp1(kInf)));
  EXPECT_TRUE(std::isnan(exp1(std::nanf(""))));
}

float tanh1(float x) {
  return cpu::tanh(splat(x))[0];
}

TEST(Simd, TanhIsWithinThreeUlpWhateverTheSize) {
  for (double size = 1e-30; size < 100; size *= 1.003)
    for (const float x : {float(size), -float(size)}) {
      const double wanted = std::tanh(double(x));
      ASSERT_NEAR(tanh1(x), wanted, 3 * kEps<float> * std::abs(wanted)) << x;
    }
  for (const double x : {-1.5, 0.0, 0.25}) EXPECT_EQ(cpu::tanh(splat(x))[0], std::tanh(x));
}

TEST(Simd, TanhAtTheEdges) {
  EXPECT_EQ(tanh1(0), 0);
  EXPECT_EQ(tanh1(kInf), 1);
  EXPECT_EQ(tanh1(-kInf), -1);
  EXPECT_TRUE(std::isnan(tanh1(std::nanf(""))));
}

template <class T>
void reductions() {
  T x[kLanes<T>];
  T sum = 0;
  for (int64_t i = 0; i < kLanes<T>; ++i) sum += x[i] = T(i * i % 7);
  x[kLanes<T> - 2] = 50, sum += 50 - T((kLanes<T> - 2) * (kLanes<T> - 2) % 7);
  EXPECT_EQ(lane_sum<T>(load(x)), sum);  // small integers: exact in any order
  EXPECT_EQ(lane_max<T>(load(x)), 50);
  EXPECT_EQ(lane_max<T>(cpu::max<T>(load(x), splat(T(60)))), 60);
}
TEST(Simd, SumAndMaxTakeEveryLane) {
  reductions<float>();
  reductions<double>();
}

template <class T>
void ragged_copy() {
  for (int64_t size = 0; size <= 3 * kLanes<T> + 1; ++size) {
    Buffer<T> from(1, size + 1), to(1, size + 1);
    from.fill_normal("from");
    each_vector<T>(size, [&](int64_t i, auto n) { store(to.data() + i, load(from.data() + i, n), n); });
    for (int64_t i = 0; i < size; ++i) ASSERT_EQ(to[i], from[i]) << size;
    EXPECT_TRUE(std::isnan(to[size])) << size;
  }
}
TEST(Simd, EachVectorCoversExactlyTheRange) {
  ragged_copy<float>();
  ragged_copy<double>();
}

TEST(Simd, MissingLanesAreFilled) {
  const float x[3] = {1, 2, 3};
  const Simd<float> v = load(x, 3, -7), zeros = load(x, 0);
  EXPECT_EQ(v[2], 3);
  EXPECT_EQ(v[3], -7);
  EXPECT_EQ(v[kLanes<float> - 1], -7);
  EXPECT_EQ(lane_sum<float>(zeros), 0);
}

template <class T>
void transposed_square() {
  constexpr int64_t W = kLanes<T>;
  Simd<T> rows[W];
  for (int64_t r = 0; r < W; ++r)
    for (int64_t c = 0; c < W; ++c) rows[r][c] = T(100 * r + c);
  transpose<T>(rows);
  for (int64_t r = 0; r < W; ++r)
    for (int64_t c = 0; c < W; ++c) ASSERT_EQ(rows[r][c], T(100 * c + r)) << r << "," << c;
}
TEST(Simd, TransposeSwapsRowsAndColumns) {
  transposed_square<float>();
  transposed_square<double>();
}

TEST(Scratch, IsAlignedGrowsAndIsApartByTag) {
  float* const a = thread_scratch<float, struct First>(5);
  float* const b = thread_scratch<float, struct Second>(5);
  EXPECT_NE(a, b);
  EXPECT_EQ((thread_scratch<float, struct First>(3)), (thread_scratch<float, struct First>(5)));
  float* const large = thread_scratch<float, struct Large>(100000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large) % 64, 0u);
  large[99999] = 1;
}

}  // namespace
}  // namespace saslm
