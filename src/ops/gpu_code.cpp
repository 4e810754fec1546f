#include "ops/gpu_code.h"

#include <charconv>
#include <sstream>

namespace saslm {
namespace {

std::string dotted(int capability) {
  return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

// sm_N runs on the same major version from its minor one on, sm_Na on N alone; compute_N, which the driver
// compiles, on N and all that came after it.
bool runs_on(int capability, std::string_view word) {
  const bool machine_code = word.starts_with("sm_");
  const std::string_view number = word.substr(word.find('_') + 1);
  int code = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), code);
  if (error != std::errc()) return false;
  if (end != number.data() + number.size()) return capability == code;
  return capability >= code && (!machine_code || capability / 10 == code / 10);
}

}  // namespace

bool has_code_for(int capability, std::string_view words) {
  std::istringstream each{std::string(words)};
  for (std::string word; each >> word;)
    if (runs_on(capability, word)) return true;
  return false;
}

std::string no_code_for(const std::string& gpu, int capability, std::string_view words) {
  return "this build of saslm has no code for " + gpu + ", of compute capability " + dotted(capability) +
         " (it has " + std::string(words) +
         "); build it with -DSASLM_CUDA_ARCHITECTURES=" + std::to_string(capability) +
         ", or without that option for all cards that its nvcc knows";
}

}  // namespace saslm
