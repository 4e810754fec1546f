// Checks one call of a run against its expected results: on separate memory that is NaN except for inputs,
// twice, with every kernel for it.
#pragma once
#include <string>
#include <vector>

#include "bench/kernel_call.h"
#include "core/error.h"

namespace saslm {

// Result of one kernel path of a call; the last path is the reference for the others.
struct PathResult {
  std::string path;      // "attention_bwd.tile"; "" if the operation has one path
  uint32_t variant = 0;  // as for Ops::avoid; 0 if the path has no name
  std::string why;       // why it cannot be used; "" if it is correct
};

// The device is unusable for this process after this call.
struct DeviceLost : MachineError {
  DeviceLost(const std::string& what, std::string path) : MachineError(what), kernel(std::move(path)) {}
  std::string kernel;  // the kernel that ran; "" if no other can replace it
};

// Skips paths in `avoided` (as for Ops::avoid), except the last. Needs as much device memory as the call
// accesses.
template <class T>
std::vector<PathResult> check_call(const KernelCall<T>& call, const Ops<T>& ops, uint32_t avoided = 0);

}  // namespace saslm
