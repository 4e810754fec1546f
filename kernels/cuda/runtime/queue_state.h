// What stands behind Stream::backend on a GPU. Included by the GPU's host code alone.
#pragma once
#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <array>
#include <string>

#include "core/stream.h"
#include "kernels/cuda/runtime/gemm.h"

namespace saslm::cuda {

void check_cuda(cudaError_t error, const std::string& call);  // throws CudaError

// Pinned memory that copies to the device go through, so that the host need not wait for them, and those from
// it, which are faster so: slots in turn, each reused when its last content has left.
class Staging {
 public:
  Staging() = default;
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  void send(cudaStream_t stream, void* device, const void* host, size_t bytes);
  void receive(cudaStream_t stream, void* host, const void* device, size_t bytes);  // waits for it

 private:
  static constexpr size_t kSlotBytes = size_t{4} << 20;
  struct Slot {
    void* memory = nullptr;  // made when first needed
    cudaEvent_t sent = nullptr;
  };
  Slot& free_slot();

  std::array<Slot, 2> slots_;
  size_t next_ = 0;
};

struct QueueState {
  QueueState();
  ~QueueState();  // waits for all queued work
  QueueState(const QueueState&) = delete;
  QueueState& operator=(const QueueState&) = delete;

  cudaStream_t stream = nullptr;
  cudaEvent_t reached = nullptr;  // what a follower waits for
  double* sum_partials = nullptr;
  Staging staging;
  Gemm gemm;
  Stream view;  // of this queue, as kernels take it
};

inline QueueState& queue_state(Stream stream) {
  return *static_cast<QueueState*>(stream.backend);
}

}  // namespace saslm::cuda
