// Launches: arguments are laid out as the kernel declares them, and the grid is run before the call returns.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "ptx/machine/cudart/device.h"

namespace ptx {
namespace {

// What nvcc's <<<...>>> pushes before it calls the kernel's host function.
struct Configuration {
  dim3 grid, block;
  size_t shared;
  void* stream;
};

std::vector<Configuration>& configurations() {
  static std::vector<Configuration> all;
  return all;
}

bool is_valid(dim3 grid, dim3 block) {
  const uint64_t threads = uint64_t(block.x) * block.y * block.z;
  return grid.x != 0 && grid.y != 0 && grid.z != 0 && grid.x <= 0x7fffffffu && grid.y <= 65535 &&
         grid.z <= 65535 && threads != 0 && threads <= 1024 && block.z <= 64;
}

Module& module_of(FatBinary& binary) {
  if (binary.module == nullptr) {
    std::string text = binary.text;
    if (const auto& mutant = device().machine.settings.mutant) {
      const Changed c = mutate(text, *mutant);
      std::fprintf(stderr, "PTX_EDIT: %d of %d places\n", c.changed, c.places);
    }
    binary.module = std::make_unique<Module>(std::move(text));
  }
  return *binary.module;
}

// Arguments, aligned to 64 bytes as tensor maps among them need.
class ArgumentBuffer {
 public:
  ArgumentBuffer(const Kernel& k, void** arguments)
      : bytes_(static_cast<uint8_t*>(std::aligned_alloc(64, (k.param_bytes + 127) / 64 * 64)), &std::free) {
    const auto& params = k.functions[0].params;
    for (size_t i = 0; i < params.size(); ++i)
      std::memcpy(bytes_.get() + params[i].offset, arguments[i], params[i].size);
  }
  const uint8_t* get() const { return bytes_.get(); }

 private:
  std::unique_ptr<uint8_t, decltype(&std::free)> bytes_;
};

cudaError_t run_kernel(const RegisteredKernel& r, dim3 grid, dim3 block, void** arguments, size_t shared) {
  Machine& machine = device().machine;
  Module& module = module_of(*r.binary);
  Launch launch;
  launch.kernel = module.kernel(r.name);
  const Kernel& k = *launch.kernel;
  const unsigned threads = block.x * block.y * block.z;
  if (k.max_threads != 0 && threads > unsigned(k.max_threads)) return failed(cudaErrorInvalidValue);
  if (k.static_shared - kSharedBase + shared > device().shared_bytes()) return failed(cudaErrorInvalidValue);
  for (const auto& [at, bytes] : module.variables()) machine.allocations.add(at, bytes);
  const ArgumentBuffer buffer(k, arguments);
  launch.grid = {grid.x, grid.y, grid.z};
  launch.block = {block.x, block.y, block.z};
  launch.dynamic_shared = uint32_t(shared);
  launch.params = buffer.get();
  launch.param_bytes = k.param_bytes;
  if (machine.settings.verbose)
    std::fprintf(stderr, "launch %s <<<(%u,%u,%u), (%u,%u,%u), %zu>>>\n", k.pretty.c_str(), grid.x, grid.y,
                 grid.z, block.x, block.y, block.z, shared);
  run(machine, launch);
  return cudaSuccess;
}

cudaError_t launch(const void* function, dim3 grid, dim3 block, void** arguments, size_t shared) {
  Device& d = device();
  if (d.broken != cudaSuccess) return failed(d.broken);
  const auto it = d.kernels.find(function);
  if (it == d.kernels.end()) return failed(cudaErrorInvalidDeviceFunction);
  const RegisteredKernel& r = it->second;
  if (!is_valid(grid, block)) return failed(cudaErrorInvalidConfiguration);
  if (shared > r.shared_limit) return failed(cudaErrorInvalidValue);
  try {
    return run_kernel(r, grid, block, arguments, shared);
  } catch (const Fault& e) {
    std::fprintf(stderr, "PTX fault in %s: %s\n", r.name.c_str(), e.what());
    if (!d.machine.settings.keep_going) d.broken = cudaErrorIllegalAddress;
    return failed(cudaErrorIllegalAddress);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "PTX interpreter cannot run %s: %s\n", r.name.c_str(), e.what());
    return failed(cudaErrorNotSupported);
  }
}

}  // namespace
}  // namespace ptx

using ptx::device;
using ptx::failed;

extern "C" {

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void* stream) {
  ptx::configurations().push_back({grid, block, shared, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  const ptx::Configuration c = ptx::configurations().back();
  ptx::configurations().pop_back();
  *grid = c.grid;
  *block = c.block;
  *shared = c.shared;
  *static_cast<void**>(stream) = c.stream;
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                               cudaStream_t) {
  return ptx::launch(kernel, grid, block, arguments, shared);
}

cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                                    size_t shared, cudaStream_t) {
  return ptx::launch(kernel, grid, block, arguments, shared);
}

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, size_t shared,
                             cudaStream_t) {
  return ptx::launch(function, grid, block, arguments, shared);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* function, void** arguments) {
  for (unsigned i = 0; i < c->numAttrs; ++i) {  // clusters of one block are none
    const cudaLaunchAttribute& a = c->attrs[i];
    const auto& cluster = a.val.clusterDim;
    if (a.id != cudaLaunchAttributeClusterDimension || cluster.x * cluster.y * cluster.z != 1)
      return failed(cudaErrorNotSupported);
  }
  return ptx::launch(function, c->gridDim, c->blockDim, arguments, c->dynamicSmemBytes);
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  const auto it = device().kernels.find(function);
  if (it == device().kernels.end()) return failed(cudaErrorInvalidDeviceFunction);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || size_t(value) > device().shared_bytes()) return failed(cudaErrorInvalidValue);
  it->second.shared_limit = size_t(value);
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {};
  return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int, size_t) {
  *blocks = 1;
  return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int, size_t,
                                                                   unsigned) {
  *blocks = 1;
  return cudaSuccess;
}

}  // extern "C"
