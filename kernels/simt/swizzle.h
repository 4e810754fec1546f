// Shared-memory swizzles (PTX ISA 5.5.7): bits 4.. of an address are xored with bits 7.. of the same address,
// so that a column of 16-byte chunks falls into different banks. mode is the layout field of a wgmma
// descriptor.
#pragma once
#include <cstdint>

namespace saslm::simt {

constexpr uint32_t swizzled(uint32_t address, int mode) {
  const uint32_t chunks = mode == 1 ? 7 : mode == 2 ? 3 : mode == 3 ? 1 : 0;  // 128, 64, 32 bytes, none
  return address ^ (address >> 7 & chunks) << 4;
}

}  // namespace saslm::simt
