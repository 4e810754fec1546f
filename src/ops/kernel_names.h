// Kernels by the names that stand in records (kernels/cuda/paths.h), as what Ops::avoid takes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace saslm {

// Names of another build's kernels, which this one does not have, are left out.
uint32_t kernels_named(const std::vector<std::string>& names);

}  // namespace saslm
