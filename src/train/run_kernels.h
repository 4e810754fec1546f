// Which kernels a run computes by and on what platform: what it does without, and what its log says of them.
#pragma once
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/platform.h"
#include "train/engine.h"
#include "train/gpu_peak.h"
#include "train/kernel_check.h"
#include "train/kernel_paths.h"
#include "train/observer.h"

namespace saslm {

// The engine does without the kernels that the verdict found wrong, and without those in `avoided`, which the
// run did without before; the former are added to the latter, and returned: "NAME: wrong here, and not used".
template <class T>
std::vector<std::string> avoid_kernels(const Engine<T>& engine, const KernelVerdict& verdict,
                                       std::vector<std::string>& avoided, TrainObserver& observer);

// The kernels of the run's calls on a GPU, told to the observer, slow ones as warnings. None on a CPU, nor
// without `name`.
template <class T>
std::vector<KernelPath> named_kernels(const Engine<T>& engine, const Config& config, const NameKernels& name,
                                      TrainObserver& observer);

// Tells on which other platforms ranks compute, and what MFU is measured against. All ranks call it.
void tell_platform(const Communicator& comm, const Platform& platform, const Peak& peak,
                   TrainObserver& observer);

}  // namespace saslm
