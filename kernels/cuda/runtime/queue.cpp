// Contract: kernels/cuda/runtime/queue.h.
#include "kernels/cuda/runtime/queue.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "kernels/cuda/runtime/queue_state.h"

namespace saslm::cuda {

void check_cuda(cudaError_t error, const std::string& call) {
  if (error != cudaSuccess)
    throw CudaError(call + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")");
}

Staging::~Staging() {
  for (const Slot& slot : slots_) {
    if (slot.sent) cudaEventDestroy(slot.sent);
    if (slot.memory) cudaFreeHost(slot.memory);
  }
}

// A slot that nothing queued uses any more.
Staging::Slot& Staging::free_slot() {
  Slot& slot = slots_[next_];
  next_ = (next_ + 1) % slots_.size();
  if (slot.memory == nullptr) {
    check_cuda(cudaHostAlloc(&slot.memory, kSlotBytes, cudaHostAllocDefault), "cudaHostAlloc");
    check_cuda(cudaEventCreateWithFlags(&slot.sent, cudaEventDisableTiming), "cudaEventCreate");
  }
  check_cuda(cudaEventSynchronize(slot.sent), "cudaEventSynchronize");  // at once before the first record
  return slot;
}

// One part arrives while the one before it is copied on.
void Staging::receive(cudaStream_t stream, void* host, const void* device, size_t bytes) {
  const auto* from = static_cast<const std::byte*>(device);
  auto* to = static_cast<std::byte*>(host);
  const Slot* arriving = nullptr;
  for (size_t done = 0, before = 0; done < bytes || arriving != nullptr;) {
    const size_t count = std::min(kSlotBytes, bytes - done);
    const Slot* const next = count > 0 ? &free_slot() : nullptr;
    if (next != nullptr) {
      check_cuda(cudaMemcpyAsync(next->memory, from + done, count, cudaMemcpyDeviceToHost, stream),
                 "cudaMemcpyAsync to the host");
      check_cuda(cudaEventRecord(next->sent, stream), "cudaEventRecord");
    }
    if (arriving != nullptr) {
      check_cuda(cudaEventSynchronize(arriving->sent), "cudaEventSynchronize");
      std::memcpy(to, arriving->memory, before);
      to += before;
    }
    done += count, before = count, arriving = next;
  }
}

void Staging::send(cudaStream_t stream, void* device, const void* host, size_t bytes) {
  const auto* from = static_cast<const std::byte*>(host);
  auto* to = static_cast<std::byte*>(device);
  for (size_t done = 0; done < bytes;) {
    const Slot& slot = free_slot();
    const size_t count = std::min(kSlotBytes, bytes - done);
    std::memcpy(slot.memory, from + done, count);
    check_cuda(cudaMemcpyAsync(to + done, slot.memory, count, cudaMemcpyHostToDevice, stream),
               "cudaMemcpyAsync to the device");
    check_cuda(cudaEventRecord(slot.sent, stream), "cudaEventRecord");
    done += count;
  }
}

QueueState::QueueState() {
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  check_cuda(cudaEventCreateWithFlags(&reached, cudaEventDisableTiming), "cudaEventCreate");
  void* scratch = nullptr;
  check_cuda(cudaMalloc(&scratch, kSumPartials * sizeof(double)), "cudaMalloc");
  sum_partials = static_cast<double*>(scratch);
  view = {stream, this};
}

QueueState::~QueueState() {
  cudaStreamSynchronize(stream);
  cudaFree(sum_partials);
  cudaEventDestroy(reached);
  cudaStreamDestroy(stream);
}

std::shared_ptr<std::byte> allocate(int64_t bytes) {
  void* block = nullptr;
  const size_t size = size_t(std::max<int64_t>(bytes, 1));
  const cudaError_t error = cudaMalloc(&block, size);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // said here; no later call shall report it again
    throw MachineError("the GPU is out of memory: the plan needs " + std::to_string(bytes) +
                       " bytes in one block, " + std::to_string(available_bytes()) +
                       " are free; `saslm plan` shows what for, a smaller train.micro_batch needs less");
  }
  check_cuda(error, "cudaMalloc");
  check_cuda(cudaMemset(block, 0, size), "cudaMemset");
  check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");  // queues do not wait for the default stream
  return {static_cast<std::byte*>(block), [](std::byte* p) { cudaFree(p); }};
}

int64_t available_bytes() {
  size_t available = 0, total = 0;
  check_cuda(cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
  return int64_t(available);
}

std::shared_ptr<const Stream> open_stream() {
  const auto state = std::make_shared<QueueState>();
  return {state, &state->view};
}

// A wait is for the event as it was recorded last before: recording it anew later does not change it.
void follow(Stream follower, Stream leader) {
  const QueueState& ahead = queue_state(leader);
  check_cuda(cudaEventRecord(ahead.reached, ahead.stream), "cudaEventRecord");
  check_cuda(cudaStreamWaitEvent(queue_state(follower).stream, ahead.reached, 0), "cudaStreamWaitEvent");
}

simt::DeviceLimits limits(Stream) {
  int device = 0, processors = 0, shared_bytes = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  check_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
             "cudaDeviceGetAttribute");
  check_cuda(cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
             "cudaDeviceGetAttribute");
  return {processors, size_t(shared_bytes)};
}
void avoid(Stream stream, uint32_t kernels) {
  queue_state(stream).view.avoided = kernels;
}

bool time_products(Stream stream, const std::string& table) {
  return queue_state(stream).gemm.use_table(table);
}
std::string product_table(Stream stream) {
  return queue_state(stream).gemm.table();
}

void copy_in(Stream stream, void* device, const void* host, size_t bytes) {
  QueueState& queue = queue_state(stream);
  queue.staging.send(queue.stream, device, host, bytes);
}

void copy_out(Stream stream, void* host, const void* device, size_t bytes) {
  QueueState& queue = queue_state(stream);
  queue.staging.receive(queue.stream, host, device, bytes);
  check_cuda(cudaStreamSynchronize(queue.stream), "cudaStreamSynchronize");
}

void zero(Stream stream, void* device, size_t bytes) {
  check_cuda(cudaMemsetAsync(device, 0, bytes, queue_state(stream).stream), "cudaMemsetAsync");
}

Vec<double> sum_partials(Stream stream) {
  return {queue_state(stream).sum_partials, kSumPartials};
}

}  // namespace saslm::cuda
