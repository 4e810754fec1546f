// Which backend a run gets: the one place where the storage type is chosen.
#pragma once
#include <string>

#include "comm/host_ranks.h"
#include "config/config.h"
#include "ops/ops.h"

namespace saslm {

// OpenMP's default is to spin for milliseconds at the end of every parallel loop, of which a step has
// hundreds: on a machine that does anything else, steps then take many times as long as they need. A few
// microseconds of spinning cost nothing on a quiet machine and keep the pace on a busy one
// (docs/performance.md). The runtime reads its settings before main begins, so this sets them and starts the
// program again, unless the user has set any.
void use_short_spinning(char** argv);

// Where a run computes, in which precision.
struct Device {
  bool gpu = false;
  bool bf16 = false;
  std::string description;  // "cpu, fp32, 2 threads"
  std::string gpu_id;       // Gpu::id
};

// The GPU that a rank computes on. ConfigError when there are fewer than ranks on this machine, or none.
Gpu gpu_for(const LaunchedAs& launched);

// Sets the number of CPU threads, or the GPU that this process uses from now on: ranks on one machine divide
// its cores among them, unless the user says how many threads, and take a GPU each. More threads than CPUs
// are warned of on standard error, and many more left out. ConfigError when the device asked for is not here.
Device choose_device(const RuntimeConfig& runtime, const LaunchedAs& launched = {});
// What `device` would be on a machine that has what is asked for: for plans.
Device intended_device(const RuntimeConfig& runtime);

// How the ranks talk that compute on such devices: on GPUs by NCCL, joined over `host`. All ranks call it.
std::unique_ptr<Communicator> join_devices(std::unique_ptr<HostRanks> host, const Device& device);

// use(ops) with the table of that device.
template <class Use>
auto on_device(const Device& device, Use use) {
  if (!device.gpu) return use(cpu_ops<float>());
  return device.bf16 ? use(cuda_ops<bf16>()) : use(cuda_ops<float>());
}

}  // namespace saslm
