// For tests of kernels. What the kernels run on is decided when a program is linked: the SIMT layer
// (support_layer.cpp) or a GPU (gpu/support_gpu.cpp). A test is compiled once for both.
//
// Tests named DISABLED_ are of sizes that the layer takes minutes for; programs for a GPU run them too.
#pragma once
#include <gtest/gtest.h>

#include <cstddef>
#include <functional>

#include "core/stream.h"
#include "kernels/simt/launch_grid.h"

namespace saslm::simt {

// Which of the layer's schedules. A GPU has its own; there a test is repeated, to see whether its bits are.
enum class Schedules { every, two, one };

// test(stream) under each of them, as on a device whose blocks have this much shared memory. Ends with the
// first one that fails, and says which that was. Faults of kernels and CUDA's errors are failures.
void for_schedules(Schedules which, size_t shared_bytes, const std::function<void(Stream)>& test);
inline void for_every_schedule(const std::function<void(Stream)>& test) {
  for_schedules(Schedules::every, kMaxSharedBytes, test);
}

// Memory that tests and kernels use by the same address. An access past its ends is found on both sides: by
// AddressSanitizer, or by guards that release() checks.
void* allocate(size_t bytes);
void release(void* memory, size_t bytes);

}  // namespace saslm::simt
