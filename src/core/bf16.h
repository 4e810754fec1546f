// bf16: a storage type, the upper half of a float; arithmetic is done in float. Host and device code share
// it. It has the layout of CUDA's __nv_bfloat16 but needs no toolkit. Rounds to nearest, ties to even; NaN
// becomes 0x7fff.
#pragma once
#include <bit>
#include <cstdint>
#include <type_traits>

namespace saslm {

struct bf16 {
  uint16_t bits;

  bf16() = default;
  constexpr explicit bf16(float x) : bits(round(x)) {}
  constexpr explicit operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
  static constexpr bf16 from_bits(uint16_t bits) {
    bf16 x(0.0f);
    x.bits = bits;
    return x;
  }

 private:
  static constexpr uint16_t round(float x) {
#if defined(__CUDA_ARCH__)
    uint16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
#else
    const uint32_t u = std::bit_cast<uint32_t>(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return uint16_t((u + 0x7fffu + (u >> 16 & 1)) >> 16);
#endif
  }
};
static_assert(sizeof(bf16) == 2 && alignof(bf16) == 2 && std::is_trivial_v<bf16>);

}  // namespace saslm
