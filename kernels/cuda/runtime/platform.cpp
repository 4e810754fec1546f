// Contract: kernels/cuda/runtime/queue.h.
#include <cublasLt.h>

#include "core/error.h"
#include "kernels/cuda/runtime/gemm.h"
#include "kernels/cuda/runtime/queue.h"
#include "kernels/cuda/runtime/queue_state.h"

namespace saslm::cuda {
namespace {

std::string version_text(int version) {  // 12040 -> "12.4"
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

Platform platform() {
  int device = 0, driver = 0, runtime = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  check_cuda(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check_cuda(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  return {.gpu = properties.name,
          .capability = std::to_string(properties.major) + "." + std::to_string(properties.minor),
          .driver = "CUDA " + version_text(driver),
          .runtime = version_text(runtime),
          .library = gemm_library()};
}

}  // namespace saslm::cuda
