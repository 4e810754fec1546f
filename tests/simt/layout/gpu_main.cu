// The layout tests on a GPU: one line each, exit 1 when one differs. Run first of all tests on a new GPU.
#include <cuda_runtime.h>

#include <cstdio>
#include <exception>

#include "simt/layout/layout.h"

namespace {

using saslm::simt::layout::Check;

int run(const std::vector<Check>& checks) {
  int failures = 0;
  for (const Check& check : checks) {
    std::string differs;
    try {
      differs = check.run({});
    } catch (const std::exception& e) {
      differs = e.what();
    }
    failures += !differs.empty();
    std::printf("%-32s %s\n", check.name, differs.empty() ? "ok" : differs.c_str());
  }
  return failures;
}

}  // namespace

int main() {
  cudaDeviceProp device;
  if (const cudaError_t error = cudaGetDeviceProperties(&device, 0); error != cudaSuccess) {
    std::printf("SKIPPED: no GPU: %s\n", cudaGetErrorString(error));
    return 0;
  }
  std::printf("%s, sm_%d%d\n", device.name, device.major, device.minor);
  int failures = run(saslm::simt::layout::basic_checks()) + run(saslm::simt::layout::matrix_checks());
  if (device.major == 9)
    failures += run(saslm::simt::layout::sm90_checks());
  else
    std::printf("SKIPPED: mbarrier, TMA and wgmma need sm_90a\n");
  return failures ? 1 : 0;
}
