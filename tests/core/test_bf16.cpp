#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "core/bf16.h"

namespace saslm {
namespace {

TEST(Bf16, EveryValueSurvivesTheWayThroughFloat) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const bf16 x = bf16::from_bits(uint16_t(bits));
    if (std::isnan(float(x)))
      EXPECT_EQ(bf16(float(x)).bits, 0x7fff);
    else
      EXPECT_EQ(bf16(float(x)).bits, bits);
  }
}

TEST(Bf16, RoundsToTheNearestAndTiesToEven) {
  EXPECT_EQ(bf16(1.00390625f).bits, 0x3f80);  // halfway to 0x3f81: even is below
  EXPECT_EQ(bf16(1.01171875f).bits, 0x3f82);  // halfway from 0x3f81: even is above
  EXPECT_EQ(bf16(3.4e38f).bits, 0x7f80);      // beyond the largest: infinity
  std::mt19937 random(1);
  for (int i = 0; i < 100000; ++i) {
    const uint32_t bits = uint32_t(random());
    float x;
    std::memcpy(&x, &bits, 4);
    const float down = float(bf16::from_bits(uint16_t(bits >> 16)));
    const float up = float(bf16::from_bits(uint16_t((bits >> 16) + 1)));
    if (!std::isfinite(x) || !std::isfinite(up)) continue;
    const double got = double(float(bf16(x)));
    EXPECT_LE(std::abs(got - x), std::min(std::abs(double(down) - x), std::abs(double(up) - x))) << x;
  }
}

}  // namespace
}  // namespace saslm
