#include "ptx/machine/instructions/half.h"

#include <cmath>

namespace ptx {

float from_f16(uint16_t h) {
  const int exponent = h >> 10 & 31;
  const auto fraction = float(h & 1023);
  const float sign = h >> 15 ? -1.0f : 1.0f;
  if (exponent == 31) return fraction != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(fraction + 1024, exponent - 25);
}

uint16_t to_f16(float f) {
  if (f != f) return 0x7fff;
  const auto sign = uint16_t(std::signbit(f) ? 0x8000 : 0);
  const float a = std::fabs(f);
  if (a >= 65520) return uint16_t(sign | 0x7c00);  // half way to 2^16 and above
  if (a < 0x1p-14f) return uint16_t(sign | uint16_t(std::nearbyint(std::ldexp(a, 24))));
  const int exponent = std::ilogb(a);
  const auto fraction = uint32_t(std::nearbyint(std::ldexp(a, 10 - exponent)));  // 1024 to 2048
  return uint16_t(sign | ((uint32_t(exponent + 14) << 10) + fraction));
}

}  // namespace ptx
