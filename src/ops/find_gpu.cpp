// What can be asked without a context is asked in find_gpu, which plans call, too: a context takes half a GiB
// and a moment on the GPU of others. Whether the driver takes the code, only a context tells: use_gpu.
#include <cuda_runtime_api.h>

#include "core/error.h"
#include "kernels/cuda/any_kernel.h"
#include "ops/gpu_code.h"
#include "ops/nvidia_driver.h"
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

std::string no_driver(cudaError_t error) {
  const std::string said = " (" + std::string(cudaGetErrorString(error)) + ")";
  const NvidiaDriver driver = nvidia_driver();
  if (driver.version.empty()) return "no usable NVIDIA driver or GPU was found" + said;
  const int major = CUDART_VERSION / 1000;
  if (error == cudaErrorNoDevice)
    return "the NVIDIA driver " + driver.version + " shows this process no GPU" + said +
           "; see CUDA_VISIBLE_DEVICES, and in a container whether it was given one";
  return "the NVIDIA driver " + driver.version + " does not run programs of CUDA " + std::to_string(major) +
         said + "; wanted " + std::to_string(oldest_driver_for(major)) +
         " or newer: update the driver, or build saslm with an older CUDA";
}

std::string not_taken(const cudaDeviceProp& gpu, cudaError_t error) {
  const int capability = 10 * gpu.major + gpu.minor;
  if (error == cudaErrorNoKernelImageForDevice) return no_code_for(gpu.name, capability, cuda::code_words());
  const std::string failed = "the kernels cannot be loaded on " + std::string(gpu.name) + ": " +
                             cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")";
  if (error == cudaErrorUnsupportedPtxVersion || error == cudaErrorJitCompilerNotFound ||
      error == cudaErrorInvalidPtx)
    return failed +
           "; its driver does not compile this build's PTX: update the driver, or build saslm with "
           "-DSASLM_CUDA_ARCHITECTURES=" +
           std::to_string(capability) + " by an nvcc that knows this card";
  return failed;
}

}  // namespace

std::variant<Gpu, std::string> find_gpu(int ordinal) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver) return no_driver(error);
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
  if (!has_code_for(capability, cuda::code_words()))
    return no_code_for(properties.name, capability, cuda::code_words());
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
  cudaFuncAttributes attributes{};
  const cudaError_t error = cudaFuncGetAttributes(&attributes, cuda::any_kernel());
  if (error == cudaSuccess) return;
  cudaDeviceProp properties{};
  cudaGetDeviceProperties(&properties, ordinal);
  throw ConfigError(not_taken(properties, error) + "; runtime.device=cpu computes without it");
}

}  // namespace saslm
