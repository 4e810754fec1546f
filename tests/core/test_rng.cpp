#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

namespace saslm {
namespace {

TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox(0, 0, 0), (Philox{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~0ull, ~0ull, ~0ull), (Philox{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  // The digits of pi, which also fix the order of the words.
  EXPECT_EQ(philox(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e),
            (Philox{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(StreamKey, DiffersBySeedAndPurpose) {
  EXPECT_EQ(stream_key(1, "a"), stream_key(1, "a"));
  EXPECT_NE(stream_key(1, "a"), stream_key(2, "a"));
  EXPECT_NE(stream_key(1, "a"), stream_key(1, "b"));
  EXPECT_NE(stream_key(1, "shuffle.1"), stream_key(1, "shuffle.11"));
}

// Bounds are five standard errors of the estimate over n = 100 000 draws.
constexpr uint64_t kDraws = 100'000;
const double kRoot = std::sqrt(double(kDraws));

TEST(Uniform, HasTheMomentsAndRangeOfUniform) {
  double sum = 0, squares = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const double u = uniform(3, i);
    ASSERT_TRUE(u >= 0 && u < 1);
    sum += u, squares += u * u;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1 / 12.) / kRoot);
  EXPECT_NEAR(squares / kDraws, 1 / 3., 5 * std::sqrt(4 / 45.) / kRoot);
}

TEST(Normal, HasTheMomentsOfNormal) {
  double sum = 0, squares = 0, fourth = 0, neighbours = 0, previous = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const double x = normal(3, i);
    sum += x, squares += x * x, fourth += x * x * x * x, neighbours += x * previous;
    previous = x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 5 / kRoot);
  EXPECT_NEAR(squares / kDraws, 1, 5 * std::sqrt(2.) / kRoot);
  EXPECT_NEAR(fourth / kDraws, 3, 5 * std::sqrt(96.) / kRoot);
  EXPECT_NEAR(neighbours / kDraws, 0, 5 / kRoot);
}

TEST(Values, DependOnKeyAndIndexAloneNotOnOrder) {
  std::vector<double> forward(100), backward(100);
  for (uint64_t i = 0; i < 100; ++i) forward[i] = normal(9, i) + uniform(9, i);
  for (uint64_t i = 100; i-- > 0;) backward[i] = normal(9, i) + uniform(9, i);
  EXPECT_EQ(forward, backward);
  EXPECT_NE(normal(9, 0), normal(10, 0));
}

TEST(Permutation, IsABijectionForEverySize) {
  std::vector<uint64_t> sizes = {1000, 1023, 1024, 1025, 4097, 65537};
  for (uint64_t n = 1; n <= 130; ++n) sizes.push_back(n);
  for (const uint64_t n : sizes) {
    const Permutation order(n * 17, n);
    std::vector<bool> seen(n);
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t to = order(i);
      ASSERT_LT(to, n);
      ASSERT_FALSE(seen[to]) << "n " << n << ", index " << i;
      seen[to] = true;
    }
  }
}

TEST(Permutation, SendsAnIndexEverywhereAlike) {
  // Over 10 000 keys, the first and the last of 65 land in each fifth equally often, within five standard
  // deviations. Below about 65 elements four Feistel rounds are too few for that.
  constexpr uint64_t kKeys = 10'000, kSize = 65, kFifth = kSize / 5;
  std::vector<int> first(5), last(5);
  for (uint64_t key = 0; key < kKeys; ++key) {
    const Permutation order(stream_key(key, "test"), kSize);
    ++first[order(0) / kFifth], ++last[order(kSize - 1) / kFifth];
  }
  const double tolerance = 5 * std::sqrt(kKeys * 0.2 * 0.8);
  for (size_t fifth = 0; fifth < 5; ++fifth) {
    EXPECT_NEAR(first[fifth], kKeys * 0.2, tolerance);
    EXPECT_NEAR(last[fifth], kKeys * 0.2, tolerance);
  }
}

TEST(Permutation, RefusesAnEmptyDomain) {
  EXPECT_THROW(Permutation(1, 0), ShapeError);
}

TEST(Permutation, ReachesSizesThatNoArrayHolds) {
  const uint64_t n = (uint64_t(1) << 62) - 57;
  const Permutation order(1, n);
  for (const uint64_t i : {uint64_t(0), n / 2, n - 1}) EXPECT_LT(order(i), n);
  EXPECT_NE(order(0), order(n - 1));
}

}  // namespace
}  // namespace saslm
