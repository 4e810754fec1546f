#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/attention.h"
#include "tests/kernels/attention_case.h"
#include "tests/support.h"

namespace saslm {
namespace {

using namespace attention_tests;

template <class T>
class AttentionMasks : public testing::Test {};
using MaskTypes = testing::Types<float, double>;
TYPED_TEST_SUITE(AttentionMasks, MaskTypes);

// A window as wide as the sequence is no window, and a window given by positions is the same window.
TYPED_TEST(AttentionMasks, EverySpellingOfAMaskHasTheSameBits) {
  const Shape plain{.B = 2, .T = 150, .H = 2, .Hp = 1, .Gk = 2, .Gv = 2, .E = 8, .D = 8};
  Shape wide = plain, narrow = plain, spelled = plain;
  wide.window = 150, narrow.window = spelled.window = 37, spelled.documents = 1000;
  AttentionCase<TypeParam> a(plain), b(wide), c(narrow), d(spelled);
  for (auto* x : {&a, &b, &c, &d}) x->run_fwd(), x->run_bwd();
  for (auto x : {&AttentionCase<TypeParam>::y, &AttentionCase<TypeParam>::lse, &AttentionCase<TypeParam>::dq,
                 &AttentionCase<TypeParam>::dk, &AttentionCase<TypeParam>::dv}) {
    EXPECT_TRUE((a.*x).same_bits(b.*x));
    EXPECT_TRUE((c.*x).same_bits(d.*x));
    EXPECT_FALSE((a.*x).same_bits(c.*x));
  }
}

// Keys beyond the window are not even read: a NaN there would show.
TYPED_TEST(AttentionMasks, KeysBeyondTheWindowAreNotRead) {
  const int64_t T = 300, W = 20;
  AttentionCase<TypeParam> c({.T = T, .E = 8, .D = 8, .window = W});
  for (int64_t j = 0; j < 100; ++j)
    for (int64_t d = 0; d < 8; ++d)
      c.k[j * 8 + d] = c.v[j * 8 + d] = std::numeric_limits<TypeParam>::quiet_NaN();
  c.run_fwd();
  for (int64_t t = 99 + W + 64; t < T; ++t) EXPECT_TRUE(std::isfinite(c.o[8 * t])) << t;
  for (int64_t t = 0; t < 99 + W; ++t) EXPECT_TRUE(std::isnan(c.o[8 * t])) << t;
}

TEST(AttentionMask, TilesPairsAndEndsAreThoseOfItsDefinition) {
  for (const int64_t window : {1, 2, 5, 9, 40})
    for (const int64_t documents : {0, 3}) {
      const Shape s{.B = 2, .T = 20, .window = window, .documents = documents};
      const AttentionCase<float> c(s);
      double pairs = 0;
      for (int64_t b = 0; b < s.B; ++b) {
        const SequenceMask mask = c.mask().of(b, s.T);
        const auto sees = [&](int64_t i, int64_t j) { return j <= i && j >= s.first(b, i); };
        for (int64_t i = 0; i < s.T; ++i) {
          EXPECT_EQ(mask.first(int(i)), s.first(b, i));
          EXPECT_TRUE(sees(mask.last(int(i)), i));
          EXPECT_TRUE(mask.last(int(i)) == s.T - 1 || !sees(mask.last(int(i)) + 1, i));
          pairs += double(i - s.first(b, i)) + 0.5;
        }
        for (const int64_t queries : {1, 4, 7})
          for (const int64_t keys : {1, 3, 8})
            for (int64_t i = 0; i + queries <= s.T; ++i)
              for (int64_t j = 0; j + keys <= s.T; ++j) {
                int64_t visible = 0;
                for (int64_t n = 0; n < queries * keys; ++n) visible += sees(i + n / keys, j + n % keys);
                const TileMask wanted = visible == 0                ? TileMask::skipped
                                        : visible == queries * keys ? TileMask::full
                                                                    : TileMask::partial;
                EXPECT_EQ(mask.tile(int(i), int(i + queries - 1), int(j), int(j + keys - 1)), wanted)
                    << window << " " << i << " " << j;
              }
      }
      EXPECT_EQ(c.mask().pairs(s.B, 0, s.T), pairs);
    }
  EXPECT_EQ(AttentionMask{}.pairs(3, 0, 10), 3 * 50);
  EXPECT_EQ(AttentionMask{.window = 4}.pairs(1, 10, 2), 2 * 3.5);
}

}  // namespace
}  // namespace saslm
