// CPU side: cp.async. GPU side: gpu_copy.h.
#pragma once
#include "kernels/simt/cpu_launch.h"

namespace saslm::simt {

// 16 or 4 bytes from global to shared memory; zeros instead when not valid (src is not read then).
void cp_async16(void* dst, const void* src, bool valid = true, CallSite at = CallSite::here());
void cp_async4(void* dst, const void* src, bool valid = true, CallSite at = CallSite::here());
void cp_async_commit(CallSite at = CallSite::here());
void cp_async_wait_groups(int unfinished, CallSite);
// Until at most N of this thread's groups are unfinished. Others see the data after a barrier.
template <int N>
void cp_async_wait(CallSite at = CallSite::here()) {
  cp_async_wait_groups(N, at);
}

}  // namespace saslm::simt
