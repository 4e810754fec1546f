// Which kernels and platform a run computes with: the kernels it must avoid, and lines for its log.
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

// Makes the engine avoid the kernels that the verdict found wrong and those in `avoided`, which the run
// avoided before. Adds the new ones to `avoided` and returns a line for each: "NAME: wrong here, and not
// used".
template <class T>
std::vector<std::string> avoid_kernels(const Engine<T>& engine, const KernelVerdict& verdict,
                                       std::vector<std::string>& avoided, TrainObserver& observer);

// Returns the kernels of the run's calls on a GPU and tells them to the observer, slow ones as warnings.
// Empty on a CPU or without `name`.
template <class T>
std::vector<KernelPath> named_kernels(const Engine<T>& engine, const Config& config, const NameKernels& name,
                                      TrainObserver& observer);

// Tells the observer which ranks have another platform, and which peak MFU refers to. All ranks call it.
void tell_platform(const Communicator& comm, const Platform& platform, const Peak& peak,
                   TrainObserver& observer);

}  // namespace saslm
