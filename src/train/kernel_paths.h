// Which kernels compute a run's calls on a GPU (kernels/cuda/paths.h), in words for plan, log and the event
// "start". Filled in by bench/kernel_paths.h, which knows a run's calls.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "config/config.h"
#include "ops/ops.h"

namespace saslm {

struct KernelPath {
  std::string call;      // "attention_fwd B8 T1024 H36..."
  std::string variant;   // "attention_fwd.tile"
  std::string text;      // "tile (96, 64)"
  std::string why_slow;  // reason and remedy if it is slow; else ""
};
using NameKernels =
    std::function<std::vector<KernelPath>(const Config&, const simt::DeviceLimits& card, uint32_t avoided)>;

}  // namespace saslm
