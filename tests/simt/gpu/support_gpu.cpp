// A GPU as the device of the tests (support.h).
//
// Memory is the host's, pinned: kernels reach it by the same address. Every launch waits for its kernel, so
// that the host never touches what a kernel still writes, and an error is that of the launch which caused it;
// a test may also ask for a device with less shared memory. For both, the linker puts the two functions below
// in place of the runtime's (-Wl,--wrap in CMakeLists.txt).
//
//   SASLM_GPU_REPEATS=100   how often each test runs; 3 when not set
//   SASLM_GPU_GUARDS=0      blocks without guards, for compute-sanitizer to see the first byte beyond them
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "simt/support.h"

namespace saslm::simt {
namespace {

size_t shared_bytes_limit = kMaxSharedBytes;  // of the device that the running test wants
struct SharedBytesLimit {
  explicit SharedBytesLimit(size_t bytes) { shared_bytes_limit = bytes; }
  ~SharedBytesLimit() { shared_bytes_limit = kMaxSharedBytes; }
  SharedBytesLimit(const SharedBytesLimit&) = delete;
  SharedBytesLimit& operator=(const SharedBytesLimit&) = delete;
};

int setting(const char* name, int otherwise) {
  const char* const text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}

// All bits set: NaN in every floating-point type, and no index. A kernel that reads it has it in its
// results; one that writes there changes it.
constexpr unsigned char kGuard = 0xff;
size_t guard_bytes() {
  return setting("SASLM_GPU_GUARDS", 1) ? 256 : 0;  // blocks stay aligned as cudaMalloc aligns
}

void expect_guard(const unsigned char* guard, size_t size, const char* where, size_t bytes) {
  const auto* const changed = std::find_if(guard, guard + size, [](unsigned char c) { return c != kGuard; });
  if (changed != guard + size)
    ADD_FAILURE() << "a kernel wrote " << where << " a block of " << bytes << " bytes, first at byte "
                  << changed - guard << " of the " << size << " there";
}

}  // namespace

void for_schedules(Schedules, size_t shared_bytes, const std::function<void(Stream)>& test) {
  const SharedBytesLimit limit(shared_bytes);
  const int repeats = setting("SASLM_GPU_REPEATS", 3);
  for (int repeat = 1; repeat <= repeats; ++repeat) {
    SCOPED_TRACE("repeat " + std::to_string(repeat) + " of " + std::to_string(repeats));
    try {
      test({});
    } catch (const CudaError& error) {
      ADD_FAILURE() << error.what();
    }
    if (::testing::Test::HasFailure()) return;
  }
}

void* allocate(size_t bytes) {
  const size_t guard = guard_bytes(), all = guard + bytes + guard;
  void* block = nullptr;
  if (const cudaError_t error = cudaHostAlloc(&block, std::max<size_t>(all, 1), cudaHostAllocMapped))
    throw CudaError("cudaHostAlloc of " + std::to_string(all) + " bytes: " + cudaGetErrorString(error) +
                    " (" + cudaGetErrorName(error) + ")");
  std::memset(block, kGuard, all);
  return static_cast<unsigned char*>(block) + guard;
}

void release(void* memory, size_t bytes) {
  auto* const data = static_cast<unsigned char*>(memory);
  const size_t guard = guard_bytes();
  expect_guard(data - guard, guard, "before", bytes);
  expect_guard(data + bytes, guard, "behind", bytes);
  cudaFreeHost(data - guard);
}

}  // namespace saslm::simt

extern "C" {

cudaError_t __real_cudaLaunchKernelExC(const cudaLaunchConfig_t*, const void*, void**);
cudaError_t __wrap_cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* kernel, void** args) {
  const cudaError_t error = __real_cudaLaunchKernelExC(config, kernel, args);
  return error != cudaSuccess ? error : cudaDeviceSynchronize();
}

cudaError_t __real_cudaDeviceGetAttribute(int*, cudaDeviceAttr, int);
cudaError_t __wrap_cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int device) {
  const cudaError_t error = __real_cudaDeviceGetAttribute(value, which, device);
  if (error == cudaSuccess && which == cudaDevAttrMaxSharedMemoryPerBlockOptin)
    *value = std::min(*value, int(saslm::simt::shared_bytes_limit));
  return error;
}

}  // extern "C"
