// An array that kernels can use, filled and read from the host, on either side.
#pragma once
#include <cstdlib>
#include <new>
#include <vector>

#include "kernels/simt/simt.h"

namespace saslm::simt::layout {

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values) : bytes_(values.size() * sizeof(T)) {
#if defined(__CUDACC__)
    must(cudaMalloc(&data_, bytes_), "cudaMalloc");
    must(cudaMemcpy(data_, values.data(), bytes_, cudaMemcpyHostToDevice), "cudaMemcpy to the device");
#else
    data_ = static_cast<T*>(std::aligned_alloc(256, (bytes_ + 255) / 256 * 256));
    if (!data_) throw std::bad_alloc();
    std::memcpy(data_, values.data(), bytes_);
#endif
  }
  ~DeviceArray() {
#if defined(__CUDACC__)
    cudaFree(data_);
#else
    std::free(data_);
#endif
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const {
    return data_;
  }
  std::vector<T> values() const {
    std::vector<T> copy(bytes_ / sizeof(T));
#if defined(__CUDACC__)
    must(cudaMemcpy(copy.data(), data_, bytes_, cudaMemcpyDeviceToHost), "cudaMemcpy from the device");
#else
    std::memcpy(copy.data(), data_, bytes_);
#endif
    return copy;
  }

 private:
#if defined(__CUDACC__)
  static void must(cudaError_t error, const char* call) {
    if (error != cudaSuccess) throw CudaError(std::string(call) + ": " + cudaGetErrorString(error));
  }
#endif
  T* data_ = nullptr;
  size_t bytes_;
};

}  // namespace saslm::simt::layout
