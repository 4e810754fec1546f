#include "comm/nccl.h"
#include "core/error.h"

namespace saslm {

std::unique_ptr<Communicator> join_nccl(std::unique_ptr<HostRanks>, NcclOptions) {
  throw ConfigError(
      "this build of saslm has no NCCL, so it cannot join GPUs; build it where CMake finds nccl.h, or give "
      "--device cpu");
}

}  // namespace saslm
