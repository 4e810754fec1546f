// simt.h and what needs sm_90a: mbarrier, bulk copies, TMA, wgmma. Include it in files compiled for sm_90a
// only.
#pragma once
#include "kernels/simt/simt.h"

#if defined(__CUDACC__)
#include "kernels/simt/gpu_sm90.h"
#else
#include "kernels/simt/cpu_sm90.h"
#endif

namespace saslm::simt {

// The 64-bit descriptor of a wgmma operand in shared memory with the 128-byte swizzle (PTX ISA 9.7.15.5.1).
// Byte distances: leading is between repeats in the contiguous direction (unused when K is contiguous),
// stride between groups of 8 rows.
#if defined(__CUDACC__)
__device__ __forceinline__
#else
inline
#endif
    uint64_t
    descriptor_swizzle_128(const void* p, uint32_t leading_bytes, uint32_t stride_bytes) {
  const auto field = [](uint32_t bytes) { return uint64_t((bytes & 0x3ffff) >> 4); };
  return field(shared_address(p)) | field(leading_bytes) << 16 | field(stride_bytes) << 32 |
         uint64_t{1} << 62;
}

}  // namespace saslm::simt
