// Streams and events: everything has ended when a call returns.
#include <chrono>

#include "ptx/machine/cudart/device.h"

namespace {

struct Event {
  std::chrono::steady_clock::time_point at;
};

Event& event(cudaEvent_t e) {
  return *reinterpret_cast<Event*>(e);
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* s) {
  *s = reinterpret_cast<cudaStream_t>(new int);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  return cudaStreamCreate(s);
}

cudaError_t cudaStreamDestroy(cudaStream_t s) {
  delete reinterpret_cast<int*>(s);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return ptx::device().broken;
}
cudaError_t cudaStreamQuery(cudaStream_t) {
  return ptx::device().broken;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* e) {
  *e = reinterpret_cast<cudaEvent_t>(new Event());
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  return cudaEventCreate(e);
}

cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete &event(e);
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t) {
  event(e).at = std::chrono::steady_clock::now();
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return ptx::device().broken;
}
cudaError_t cudaEventQuery(cudaEvent_t) {
  return ptx::device().broken;
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  *ms = std::chrono::duration<float, std::milli>(event(to).at - event(from).at).count();
  return cudaSuccess;
}

}  // extern "C"
