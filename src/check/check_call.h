// One call of a run, held to what it must give: on memory of its own that is full of NaN where nothing was
// put, twice, by every path there is for it.
#pragma once
#include <string>
#include <vector>

#include "bench/kernel_call.h"
#include "core/error.h"

namespace saslm {

// What came of one path of a call; the last one of a call is what others are held to.
struct PathResult {
  std::string path;      // "attention_bwd.tile"; "" where an operation has one way alone
  uint32_t variant = 0;  // as Ops::avoid takes it; 0 where the path has no name
  std::string why;       // it cannot be used; "" when it is right
};

// After this call the device does nothing more for this process.
struct DeviceLost : MachineError {
  DeviceLost(const std::string& what, std::string path) : MachineError(what), kernel(std::move(path)) {}
  std::string kernel;  // that was on it; "" where none could take its place
};

// Paths among `avoided` (as Ops::avoid takes it) are left out, but for the last. The device needs as much
// memory as the call touches.
template <class T>
std::vector<PathResult> check_call(const KernelCall<T>& call, const Ops<T>& ops, uint32_t avoided = 0);

}  // namespace saslm
