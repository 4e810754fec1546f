// Numbers of 16 bits: bf16 and f16, to the nearest, ties to even. NaN is 0x7fff, as conversions make it.
#pragma once
#include <cstdint>

namespace ptx {

uint16_t to_bf16(float f);
float from_bf16(uint16_t h);
uint16_t to_f16(float f);
float from_f16(uint16_t h);

inline float from_bf16(uint16_t h) {
  return __builtin_bit_cast(float, uint32_t(h) << 16);
}

inline uint16_t to_bf16(float f) {
  if (f != f) return 0x7fff;
  const uint32_t bits = __builtin_bit_cast(uint32_t, f);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace ptx
