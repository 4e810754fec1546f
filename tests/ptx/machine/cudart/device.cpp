// Device, errors, versions.
#include "ptx/machine/cudart/device.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace ptx {

Device::Device() {
  machine.settings = Settings::from_environment();
}

Device& device() {
  static Device* const only = [] {  // never destroyed: static objects may free memory after main
    std::atexit([] { write_profiles(device().machine); });
    return new Device;
  }();
  return *only;
}

cudaError_t failed(cudaError_t error) {
  if (error != cudaSuccess) device().last_error = error;
  return error;
}

namespace {

constexpr size_t kMemory = size_t(8) << 30;
constexpr int kL2Bytes = 50 << 20, kRegisters = 65536, kThreads = 2048, kVersion = 13000;

int shared_bytes_of_processor(int architecture) {
  return (architecture >= 90 ? 228 : 164) * 1024;
}

}  // namespace
}  // namespace ptx

using ptx::device;
using ptx::failed;

extern "C" {

cudaError_t cudaGetDeviceCount(int* n) {
  *n = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* d) {
  *d = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int d) {
  return d == 0 ? cudaSuccess : failed(cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const ptx::Settings& s = device().machine.settings;
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = s.processors;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = int(device().shared_bytes());
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = s.architecture / 10;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = s.architecture % 10;
      break;
    case cudaDevAttrMaxThreadsPerBlock:
      *value = 1024;
      break;
    case cudaDevAttrL2CacheSize:
      *value = ptx::kL2Bytes;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = 48 * 1024;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = ptx::shared_bytes_of_processor(s.architecture);
      break;
    default:
      std::fprintf(stderr, "PTX machine: device attribute %d is not known\n", int(attribute));
      return failed(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

#undef cudaGetDeviceProperties
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  const ptx::Settings& s = device().machine.settings;
  std::memset(p, 0, sizeof *p);
  std::snprintf(p->name, sizeof p->name, "PTX interpreter");
  p->major = s.architecture / 10;
  p->minor = s.architecture % 10;
  p->multiProcessorCount = s.processors;
  p->totalGlobalMem = ptx::kMemory;
  p->sharedMemPerBlockOptin = device().shared_bytes();
  p->sharedMemPerBlock = 48 * 1024;
  p->sharedMemPerMultiprocessor = size_t(ptx::shared_bytes_of_processor(s.architecture));
  p->maxThreadsPerBlock = 1024;
  p->warpSize = ptx::kWarp;
  p->l2CacheSize = ptx::kL2Bytes;
  p->memoryBusWidth = 5120;
  p->regsPerMultiprocessor = ptx::kRegisters;
  p->maxThreadsPerMultiProcessor = ptx::kThreads;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int bytes, int) {
  std::snprintf(text, size_t(bytes), "0000:00:00.0");
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  *free_bytes = *total_bytes = ptx::kMemory;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  return device().broken;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = ptx::kVersion;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = ptx::kVersion;
  return cudaSuccess;
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = device().last_error;
  device().last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() {
  return device().last_error;
}

const char* cudaGetErrorString(cudaError_t error) {
  static char text[64];
  std::snprintf(text, sizeof text, "error %d of the PTX interpreter's runtime", int(error));
  return error == cudaSuccess ? "no error" : text;
}

const char* cudaGetErrorName(cudaError_t error) {
  static char text[64];
  std::snprintf(text, sizeof text, "cudaError %d", int(error));
  return text;
}

}  // extern "C"
