// GPU side: cp.async, from sm_80 (PTX ISA 9.7.9.25.3). CPU side: cpu_copy.h.
#pragma once
#include "kernels/simt/gpu_basic.h"

namespace saslm::simt {

// 16 bytes from global to shared memory, around L1; zeros instead when not valid (src is not read then).
__device__ __forceinline__ void cp_async16(void* dst, const void* src, bool valid = true) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(dst)), "l"(src),
               "r"(bytes)
               : "memory");
}
// 4 bytes likewise, through L1: rows that do not begin on 16.
__device__ __forceinline__ void cp_async4(void* dst, const void* src, bool valid = true) {
  const int bytes = valid ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(dst)), "l"(src), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until at most N of this thread's groups are unfinished. Others see the data after a barrier.
template <int N>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

}  // namespace saslm::simt
