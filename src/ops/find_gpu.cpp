#include <cuda_runtime_api.h>

#include "ops/ops.h"

namespace saslm {

std::variant<Gpu, std::string> find_gpu() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver)
    return "no usable NVIDIA driver or GPU was found (" + std::string(cudaGetErrorString(error)) + ")";
  if (error != cudaSuccess) return "CUDA cannot be used: " + std::string(cudaGetErrorString(error));
  if (count == 0) return std::string("no NVIDIA GPU is visible (see CUDA_VISIBLE_DEVICES)");
  cudaDeviceProp properties{};
  if (const cudaError_t failed = cudaGetDeviceProperties(&properties, 0); failed != cudaSuccess)
    return "the GPU cannot be asked what it is: " + std::string(cudaGetErrorString(failed));
  const int capability = 10 * properties.major + properties.minor;
  if (capability < 80)
    return std::string(properties.name) + " has compute capability " + std::to_string(properties.major) +
           "." + std::to_string(properties.minor) + "; wanted 8.0 or newer";
  return Gpu{properties.name, capability, int64_t(properties.totalGlobalMem)};
}

}  // namespace saslm
