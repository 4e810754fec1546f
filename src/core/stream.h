// Where work is queued. On the CPU every call has finished when it returns.
#pragma once
#include <cstdint>

namespace saslm {

struct Stream {
  void* handle = nullptr;   // the device's queue; unused on the CPU
  void* backend = nullptr;  // what the backend keeps beside it: libraries' handles, workspaces
  uint32_t avoided = 0;     // kernels that calls must not be computed by (kernels/cuda/paths.h)
};

}  // namespace saslm
