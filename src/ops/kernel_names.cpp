#include "ops/kernel_names.h"

#include "kernels/cuda/paths.h"

namespace saslm {

uint32_t kernels_named(const std::vector<std::string>& names) {
  uint32_t kernels = 0;
  for (const std::string& name : names)
    if (const auto variant = cuda::variant_of(name)) kernels |= cuda::bit_of(*variant);
  return kernels;
}

}  // namespace saslm
