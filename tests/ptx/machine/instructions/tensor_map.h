// What a CUtensorMap holds here, in its first bytes: written by the driver's stand-in
// (cudart/tensor_map.cpp), read by cp.async.bulk.tensor (instructions/bulk_copies.cpp). The true one is
// opaque.
#pragma once
#include <cstdint>

namespace ptx {

constexpr uint64_t kTensorMapMagic = 0x50414d524f534e54;

struct TensorMap {  // two dimensions
  uint64_t magic = kTensorMapMagic;
  uint64_t base = 0;                      // address of element (0, 0)
  uint64_t inner = 0, outer = 0;          // elements of a row, rows
  uint64_t pitch = 0;                     // bytes from row to row
  uint32_t box_inner = 0, box_outer = 0;  // of a copy
  uint32_t swizzle = 0;  // 16-byte chunks: bits 4.. ^= bits 7.. & swizzle; 7: 128 bytes, 3: 64, 1: 32
  uint32_t element_bytes = 0;
};

}  // namespace ptx
