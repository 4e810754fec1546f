// Chooses a run's backend and storage type.
#pragma once
#include <string>

#include "comm/host_ranks.h"
#include "config/config.h"
#include "ops/ops.h"

namespace saslm {

// Shortens OpenMP's spinning. By default, threads spin for milliseconds at the end of every parallel loop, of
// which a step has hundreds; on a busy machine steps then take many times longer. Spinning for a few
// microseconds costs nothing on an idle machine and is fast on a busy one (docs/performance.md). The runtime
// reads its settings before main, so this sets them and restarts the program, unless the user has set any.
void use_short_spinning(char** argv);

// Device and precision of a run.
struct Device {
  bool gpu = false;
  bool bf16 = false;
  std::string description;  // "cpu, fp32, 2 threads"
  std::string gpu_id;       // Gpu::id
};

// The GPU of a rank. ConfigError if there is none, or fewer than ranks on this machine.
Gpu gpu_for(const LaunchedAs& launched);

// Sets the number of CPU threads, or this process's GPU. Ranks on one machine share its cores, unless the
// user sets the number of threads, and use one GPU each. More threads than CPUs give a warning; far too many
// are reduced. ConfigError if the requested device does not exist.
Device choose_device(const RuntimeConfig& runtime, const LaunchedAs& launched = {});
// The device on a machine that has the requested hardware, for plans.
Device intended_device(const RuntimeConfig& runtime);

// The communicator for such devices: NCCL on GPUs, joined over `host`. All ranks call it.
std::unique_ptr<Communicator> join_devices(std::unique_ptr<HostRanks> host, const Device& device);

// Calls use(ops) with the device's table of operations.
template <class Use>
auto on_device(const Device& device, Use use) {
  if (!device.gpu) return use(cpu_ops<float>());
  return device.bf16 ? use(cuda_ops<bf16>()) : use(cuda_ops<float>());
}

}  // namespace saslm
