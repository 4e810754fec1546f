// The kernels that a run's calls would be computed by on such a card: those operations that have several.
#pragma once
#include "train/kernel_paths.h"

namespace saslm {

// Of the distinct calls of a step of the config (bench/recording.h), in bf16 or float as T says; `avoided` as
// in Stream. A NameKernels.
template <class T>
std::vector<KernelPath> kernel_paths(const Config& config, const simt::DeviceLimits& card, uint32_t avoided);

}  // namespace saslm
