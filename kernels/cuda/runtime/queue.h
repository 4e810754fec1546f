// The GPU's memory and queue: what a backend needs beside its kernels. A queue is a CUDA stream with what
// belongs to it: staging memory for copies, scratch for sums, the matrix library's state.
//
// The SIMT layer has the same functions over the host's memory (tests/simt/backend/host_queue.cpp), so that
// the whole backend runs there too.
//
// Errors   MachineError when memory is short, CudaError with the call and CUDA's own words.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/platform.h"
#include "core/stream.h"
#include "core/view.h"
#include "kernels/simt/launch_grid.h"

namespace saslm::cuda {

// Of the GPU that this thread uses; the driver by the CUDA that it knows, alone.
Platform platform();

// Zeroed. The device's memory is freed with the last pointer.
std::shared_ptr<std::byte> allocate(int64_t bytes);
int64_t available_bytes();

std::shared_ptr<const Stream> open_stream();
void follow(Stream follower, Stream leader);  // Ops::follow (src/ops/ops.h)

// Ops::limits and Ops::avoid (src/ops/ops.h).
simt::DeviceLimits limits(Stream);
void avoid(Stream, uint32_t kernels);

// Ops::time_products and Ops::product_table (src/ops/ops.h).
bool time_products(Stream, const std::string& table);
std::string product_table(Stream);

// The host's memory has been read on return, but the copy may still be on its way: work queued later sees it.
void copy_in(Stream, void* device, const void* host, size_t bytes);
// Waits for all that was queued.
void copy_out(Stream, void* host, const void* device, size_t bytes);
void zero(Stream, void* device, size_t bytes);

// Ops::begin_range and Ops::end_range (src/ops/ops.h).
void begin_range(const char* name);
void end_range();

// Scratch of one call's sums; the next call's overwrites it.
constexpr int64_t kSumPartials = 1024;
Vec<double> sum_partials(Stream);

}  // namespace saslm::cuda
