// NVTX, from headers alone: what a profiler loads into the process answers; without one a call is a test of a
// pointer. https://nvidia.github.io/NVTX (version 3)
#include "kernels/cuda/runtime/queue.h"

#if __has_include(<nvtx3/nvToolsExt.h>)  // pip's toolkits come without it
#include <nvtx3/nvToolsExt.h>

namespace saslm::cuda {

void begin_range(const char* name) {
  nvtxRangePushA(name);
}
void end_range() {
  nvtxRangePop();
}

}  // namespace saslm::cuda
#else
namespace saslm::cuda {

void begin_range(const char*) {}
void end_range() {}

}  // namespace saslm::cuda
#endif
