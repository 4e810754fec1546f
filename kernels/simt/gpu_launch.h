// GPU side: the types, and launch(). Errors of the launch itself are thrown; those of the running kernel show
// at the next synchronisation, as CUDA has it.
#pragma once
#include <cuda_runtime.h>

#include <bit>
#include <type_traits>

#include "core/bf16.h"
#include "core/error.h"
#include "core/stream.h"
#include "kernels/simt/launch_grid.h"

#define SIMT_UNROLL _Pragma("unroll")
#define SIMT_ROLLED _Pragma("unroll 1")
#define SIMT_PRAGMA(text) _Pragma(#text)
#define SIMT_UNROLL_BY(n) SIMT_PRAGMA(unroll(n))  // n: a constant expression, of template arguments too
// A variable of the block: SIMT_SHARED(float[32], sums);
#define SIMT_SHARED(type, name) __shared__ alignas(16) std::type_identity_t<type> name

namespace saslm::simt {

inline void check_cuda(cudaError_t error, const LaunchGrid& grid, const char* call) {
  if (error != cudaSuccess)
    throw CudaError(std::string(call) + " for the kernel of " + grid.launcher + " with grid " + grid.text() +
                    ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")");
}

// Of the current device.
inline DeviceLimits device_limits(Stream) {
  int device = 0, processors = 0, shared_bytes = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error != cudaSuccess)
    throw CudaError(std::string("the limits of the current device: ") + cudaGetErrorString(error));
  return {processors, static_cast<size_t>(shared_bytes)};
}

template <class... P, class... A>
void launch(void (*kernel)(P...), LaunchGrid grid, dim3 block, size_t shared_bytes, Stream stream,
            A&&... args) {
  if (!grid.launchable())
    throw ShapeError(std::string(grid.launcher) + ": no kernel can be launched with grid " + grid.text());
  if (shared_bytes > 48 * 1024)
    check_cuda(
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
        grid, "cudaFuncSetAttribute(shared memory)");
  cudaLaunchConfig_t config{};
  config.gridDim =
      dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z));
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream.handle);
  check_cuda(cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...), grid, "cudaLaunchKernelEx");
}

}  // namespace saslm::simt
