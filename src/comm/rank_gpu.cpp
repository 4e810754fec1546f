#include "comm/rank_gpu.h"

#include <cstdlib>

#include "core/error.h"

namespace saslm {
namespace {

const char* visible_devices() {
  return std::getenv("CUDA_VISIBLE_DEVICES");
}

std::string said_of_visible() {
  const char* const text = visible_devices();
  return text == nullptr ? "CUDA_VISIBLE_DEVICES is not set" : "CUDA_VISIBLE_DEVICES=" + std::string(text);
}

constexpr const char* kRemedy = "; start fewer ranks, let them see more GPUs, or give --device cpu";

}  // namespace

int gpu_of_rank(const LaunchedAs& launched, int visible) {
  if (visible == 1 && launched.launched && visible_devices() != nullptr) return 0;
  if (launched.local_size > visible || launched.local_rank >= visible)
    throw ConfigError("every rank needs a GPU of its own: wanted " + std::to_string(launched.local_size) +
                      " for the ranks on this machine, " + std::to_string(visible) + " visible (" +
                      said_of_visible() + ")" + kRemedy);
  return launched.local_rank;
}

void check_gpus_differ(const Communicator& comm, const std::string& gpu_id) {
  const std::vector<std::string> ids = gather_texts(comm, gpu_id, "choice of GPUs");
  for (size_t a = 0; a < ids.size(); ++a)
    for (size_t b = a + 1; b < ids.size(); ++b)
      if (ids[a] == ids[b])
        throw ConfigError("every rank needs a GPU of its own, but of " + std::to_string(comm.size()) +
                          " ranks, rank " + std::to_string(a) + " and rank " + std::to_string(b) +
                          " were given the same: " + ids[a] + " (" + said_of_visible() + ")" + kRemedy);
}

}  // namespace saslm
