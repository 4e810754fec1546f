// kernels/cuda/runtime/queue.h over the host's memory: the whole CUDA backend on the SIMT layer. Memory is
// handed out as a GPU's would be: the backend must not rely on the host's reading it (Ops::host_memory stays
// false).
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/arena.h"
#include "kernels/cuda/runtime/queue.h"
#include "kernels/simt/schedules.h"

namespace saslm::cuda {
namespace {

constexpr const char* kProductTable = "the layer\n";

// A device with SASLM_SHARED_KIB of shared memory for a block, where that is set.
simt::LaunchOptions device_options() {
  simt::LaunchOptions options{.order = simt::Order::random};
  if (const char* const kib = std::getenv("SASLM_SHARED_KIB"))
    options.device.shared_bytes = size_t(std::atoi(kib)) * 1024;
  return options;
}

struct HostQueue {
  simt::LaunchOptions options = device_options();
  std::vector<double> partials = std::vector<double>(kSumPartials);
  Stream view{&options, this};
  std::string table;
};

HostQueue& host_queue(Stream stream) {
  return *static_cast<HostQueue*>(stream.backend);
}

}  // namespace

Platform platform() {
  return {.gpu = "the layer"};
}

std::shared_ptr<std::byte> allocate(int64_t bytes) {
  return allocate_host(bytes);
}
int64_t available_bytes() {
  return 0;
}

std::shared_ptr<const Stream> open_stream() {
  const auto queue = std::make_shared<HostQueue>();
  return {queue, &queue->view};
}

void follow(Stream, Stream) {}  // a call has ended when it returns

simt::DeviceLimits limits(Stream stream) {
  return host_queue(stream).options.device;
}
void avoid(Stream stream, uint32_t kernels) {
  host_queue(stream).view.avoided = kernels;
}

// A table that only its first holder can use; others are told so.
bool time_products(Stream stream, const std::string& table) {
  const bool usable = table.empty() || table == kProductTable;
  host_queue(stream).table = kProductTable;
  return usable;
}
std::string product_table(Stream stream) {
  return host_queue(stream).table;
}

void begin_range(const char*) {}
void end_range() {}

void copy_in(Stream, void* device, const void* host, size_t bytes) {
  std::memcpy(device, host, bytes);
}
void copy_out(Stream, void* host, const void* device, size_t bytes) {
  std::memcpy(host, device, bytes);
}
void zero(Stream, void* device, size_t bytes) {
  std::memset(device, 0, bytes);
}

Vec<double> sum_partials(Stream stream) {
  std::vector<double>& partials = host_queue(stream).partials;
  return {partials.data(), int64_t(partials.size())};
}

}  // namespace saslm::cuda
