// Which cards the kernels of a build can run on.
#pragma once
#include <string>
#include <string_view>

namespace saslm {

// words: what the build has, in nvcc's: "compute_80 sm_80 sm_90". capability: 90 for 9.0.
bool has_code_for(int capability, std::string_view words);

// Why not, and what to build.
std::string no_code_for(const std::string& gpu, int capability, std::string_view words);

}  // namespace saslm
