// The device that the stand-in for the CUDA runtime has: one, with the host's memory. CUDA's runtime keeps
// its state for the process, so this is the one global of the machine. Streams run in the caller; a launch
// returns when it has ended.
#pragma once
#include <cuda_runtime_api.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ptx/machine/program/module.h"
#include "ptx/machine/run/machine.h"

namespace ptx {

// A translation unit's fat binary: the newest PTX in it that the device can run; parsed at the first launch.
struct FatBinary {
  std::string text;
  int architecture = -1;
  std::unique_ptr<Module> module;
};

struct RegisteredKernel {
  FatBinary* binary = nullptr;
  std::string name;
  size_t shared_limit = 48 * 1024;  // dynamic; cudaFuncAttributeMaxDynamicSharedMemorySize raises it
};

struct Device {
  Device();
  Machine machine;
  std::vector<std::unique_ptr<FatBinary>> binaries;
  std::map<const void*, RegisteredKernel> kernels;  // by the host's function
  std::map<void*, size_t> blocks;                   // cudaMalloc and cudaHostAlloc
  cudaError_t last_error = cudaSuccess;
  cudaError_t broken = cudaSuccess;  // after a fault every call fails, as on a card

  size_t shared_bytes() const { return size_t(machine.settings.shared_kib) * 1024; }
};

Device& device();  // made at the first use, from the environment; writes PTX_PROFILE when the process exits
cudaError_t failed(cudaError_t error);  // notes it for cudaGetLastError

}  // namespace ptx
