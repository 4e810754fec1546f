#include "kernels/block_squares.h"
#include "tests/support.h"

namespace saslm {
namespace {

using test::Buffer;
using test::kEps;

constexpr int64_t kBlock = BlockSquares<float>::kBlock;

template <class A>
std::vector<double> sums_of(Vec<const A> x) {
  std::vector<double> out(size_t(ceil_div(x.size, kBlock)) + 1, -1);
  cpu::block_squares<A>({}, {.out = {out.data(), int64_t(out.size()) - 1}, .x = x});
  EXPECT_EQ(out.back(), -1) << "written past the last block";
  out.pop_back();
  return out;
}

template <class A>
void equals_formula(int64_t size) {
  Buffer<A> x(size);
  x.fill_normal("x");
  const std::vector<double> sums = sums_of<A>(x.cvec());
  for (size_t b = 0; b < sums.size(); ++b) {
    double wanted = 0;
    for (int64_t i = int64_t(b) * kBlock; i < std::min(size, int64_t(b + 1) * kBlock); ++i)
      wanted += double(x[i]) * double(x[i]);
    EXPECT_NEAR(sums[b], wanted, double(kBlock) * kEps<double> * wanted) << "block " << b << " of " << size;
  }
}
TEST(BlockSquares, EqualsTheFormulaOnRaggedSizes) {
  for (const int64_t size : {0, 1, 15, 100, 4095, 4096, 4097, 5 * 4096 + 33}) {
    equals_formula<float>(size);
    equals_formula<double>(size);
  }
}

TEST(BlockSquares, ABlocksSumDependsOnItsElementsAlone) {
  Buffer<float> x(4 * kBlock);
  x.fill_normal("x");
  const std::vector<double> together = sums_of<float>(x.cvec());
  for (int64_t b = 0; b < 4; ++b)
    EXPECT_EQ(sums_of<float>({x.cvec().data + b * kBlock, kBlock})[0], together[size_t(b)]);
  const auto sums = [&] { return sums_of<float>(x.cvec()); };
  EXPECT_EQ(test::with_threads(1, sums), test::with_threads(2, sums));
}

TEST(BlockSquares, ANonFiniteElementShowsInItsBlockAlone) {
  Buffer<float> x(2 * kBlock + 7);
  x.fill(1), x[kBlock + 5] = std::nanf("");
  const std::vector<double> sums = sums_of<float>(x.cvec());
  EXPECT_EQ(sums[0], kBlock);
  EXPECT_TRUE(std::isnan(sums[1]));
  EXPECT_EQ(sums[2], 7);
}

TEST(BlockSquares, WrongShapesAreNamed) {
  Buffer<float> x(kBlock + 1);
  double out[1];
  test::expect_shape_error(
      [&] {
        cpu::block_squares<float>({}, {.out = {out, 1}, .x = x.cvec()});
      },
      {"block_squares: out", "2 elements", "has 1"});
}

}  // namespace
}  // namespace saslm
