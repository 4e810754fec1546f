#include <cuda_runtime_api.h>

#include "core/error.h"
#include "ops/ops.h"

namespace saslm {
namespace {

std::string text_of(const cudaUUID_t& uuid) {
  std::string text = "GPU-";
  for (int i = 0; i < 16; ++i) {
    constexpr const char* kDigits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(uuid.bytes[i]);
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += {kDigits[byte / 16], kDigits[byte % 16]};
  }
  return text;
}

}  // namespace

std::variant<Gpu, std::string> find_gpu(int ordinal) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver)
    return "no usable NVIDIA driver or GPU was found (" + std::string(cudaGetErrorString(error)) + ")";
  if (error != cudaSuccess) return "CUDA cannot be used: " + std::string(cudaGetErrorString(error));
  if (ordinal >= count)
    return "wanted GPU " + std::to_string(ordinal) + ", " + std::to_string(count) +
           " are visible (see CUDA_VISIBLE_DEVICES)";
  cudaDeviceProp properties{};
  if (const cudaError_t failed = cudaGetDeviceProperties(&properties, ordinal); failed != cudaSuccess)
    return "the GPU cannot be asked what it is: " + std::string(cudaGetErrorString(failed));
  const int capability = 10 * properties.major + properties.minor;
  if (capability < 80)
    return std::string(properties.name) + " has compute capability " + std::to_string(properties.major) +
           "." + std::to_string(properties.minor) + "; wanted 8.0 or newer";
  return Gpu{.name = properties.name,
             .capability = capability,
             .memory_bytes = int64_t(properties.totalGlobalMem),
             .ordinal = ordinal,
             .id = text_of(properties.uuid),
             .limits = {properties.multiProcessorCount, properties.sharedMemPerBlockOptin}};
}

int gpu_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

void use_gpu(int ordinal) {
  if (const cudaError_t error = cudaSetDevice(ordinal); error != cudaSuccess)
    throw CudaError("cudaSetDevice(" + std::to_string(ordinal) + "): " + cudaGetErrorString(error));
}

}  // namespace saslm
