// The kernels that would compute a run's calls on a GPU, for operations with several kernels.
#pragma once
#include "train/kernel_paths.h"

namespace saslm {

// For the distinct calls of a step of the config (bench/recording.h), in bf16 or float (T); `avoided` as in
// Stream. Usable as NameKernels.
template <class T>
std::vector<KernelPath> kernel_paths(const Config& config, const simt::DeviceLimits& card, uint32_t avoided);

}  // namespace saslm
