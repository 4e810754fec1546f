// Memory is the host's; every block is an allocation that kernels may touch, filled with 0xff, and nothing
// else is near.
#include <cstdlib>
#include <cstring>

#include "ptx/machine/cudart/device.h"

namespace ptx {
namespace {

constexpr size_t kPage = 4096, kBefore = kPage / 2;

cudaError_t allocate(void** p, size_t bytes) {
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  auto* const block = static_cast<uint8_t*>(std::aligned_alloc(kPage, (bytes + 3 * kPage) / kPage * kPage));
  if (block == nullptr) return failed(cudaErrorMemoryAllocation);
  *p = block + kBefore;
  std::memset(*p, 0xff, bytes);
  device().machine.allocations.add(*p, bytes);
  device().blocks[*p] = bytes;
  return cudaSuccess;
}

cudaError_t free_block(void* p) {
  if (p == nullptr) return cudaSuccess;
  if (device().blocks.erase(p) == 0) return failed(cudaErrorInvalidValue);
  device().machine.allocations.remove(p);
  device().machine.races.forget(p);
  std::free(static_cast<uint8_t*>(p) - kBefore);
  return cudaSuccess;
}

}  // namespace
}  // namespace ptx

extern "C" {

cudaError_t cudaMalloc(void** p, size_t bytes) {
  return ptx::allocate(p, bytes);
}
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  return ptx::allocate(p, bytes);
}
cudaError_t cudaMallocHost(void** p, size_t bytes) {
  return ptx::allocate(p, bytes);
}
cudaError_t cudaFree(void* p) {
  return ptx::free_block(p);
}
cudaError_t cudaFreeHost(void* p) {
  return ptx::free_block(p);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  std::memmove(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  return cudaMemcpy(to, from, bytes, kind);
}

cudaError_t cudaMemset(void* p, int value, size_t bytes) {
  std::memset(p, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t) {
  return cudaMemset(p, value, bytes);
}

// For cuBLASLt's stand-in, which is a library of its own: whether the bytes are memory of the device.
int ptx_is_device_memory(const void* p, size_t bytes) {
  return ptx::device().machine.allocations.find(reinterpret_cast<uint64_t>(p), bytes) != nullptr;
}

}  // extern "C"
