// CPU side: CUDA's spellings, the vector types, launch() and its options. Included by g++ and clang++ only.
//
// On the CPU the stream carries the options: Stream{&options}; an empty stream means the defaults. A launch
// has finished when it returns, and throws Fault when the layer saw something wrong.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "core/bf16.h"
#include "core/error.h"
#include "core/stream.h"
#include "kernels/simt/launch_grid.h"

#ifndef __global__  // CUDA's own headers define these away too
#define __global__
#define __device__
#define __host__
#endif
#ifndef __launch_bounds__
#define __launch_bounds__(...)
#endif
#ifndef __grid_constant__
#define __grid_constant__
#endif
#ifndef __forceinline__
#define __forceinline__ inline
#endif
#define SIMT_UNROLL
#define SIMT_ROLLED
#define SIMT_UNROLL_BY(n)
// A variable of the block: SIMT_SHARED(float[32], sums);
#define SIMT_SHARED(type, name)                                                       \
  static const char simt_identity_of_##name = 0;                                      \
  auto& name = *static_cast<std::add_pointer_t<type>>(::saslm::simt::shared_variable( \
      &simt_identity_of_##name, sizeof(type), std::max<size_t>(16, alignof(type)), #name))

namespace saslm {
namespace simt {

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned nx = 1, unsigned ny = 1, unsigned nz = 1) : x(nx), y(ny), z(nz) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

// Of the thread that is running; the scheduler keeps them right.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

// The layer found the kernel at fault: what, where, who, and what to do.
struct Fault : Error {
  using Error::Error;
};

// Which of the legal executions to run.
enum class Order { forward, reverse, round_robin, random };
enum class Copies { late, early };  // asynchronous copies land when waited for, or when issued
struct LaunchOptions {
  Order order = Order::forward;
  Copies copies = Copies::late;
  uint32_t seed = 1;  // of Order::random
  DeviceLimits device{.processors = 2,
                      .shared_bytes = kMaxSharedBytes};  // few, so that blocks are persistent
};
inline LaunchOptions launch_options(Stream stream) {
  return stream.handle ? *static_cast<const LaunchOptions*>(stream.handle) : LaunchOptions{};
}
inline DeviceLimits device_limits(Stream stream) {
  return launch_options(stream).device;
}

// The whole grid, one block after another; body(context) is one thread.
void run_grid(const LaunchGrid&, dim3 block, size_t shared_bytes, const LaunchOptions&, void (*body)(void*),
              void* context);

template <class... P, class... A>
void launch(void (*kernel)(P...), LaunchGrid grid, dim3 block, size_t shared_bytes, Stream stream,
            A&&... args) {
  struct Call {
    void (*kernel)(P...);
    std::tuple<std::decay_t<P>...> args;
  } call{kernel, {static_cast<P>(args)...}};
  run_grid(
      grid, block, shared_bytes, launch_options(stream),
      [](void* context) {
        const Call& c = *static_cast<const Call*>(context);
        std::apply(c.kernel, c.args);
      },
      &call);
}

}  // namespace simt

// CUDA has these at global scope, so kernels use them unqualified.
using simt::blockDim;
using simt::blockIdx;
using simt::dim3;
using simt::float2;
using simt::float4;
using simt::gridDim;
using simt::int2;
using simt::int4;
using simt::threadIdx;
using simt::uint2;
using simt::uint3;
using simt::uint4;
using std::max;
using std::min;

}  // namespace saslm
