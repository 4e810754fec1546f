// Which GPU a rank computes on: among those visible on its machine, its own number among the ranks there.
#pragma once
#include <string>

#include "comm/communicator.h"

namespace saslm {

// The rank's GPU of `visible` ones. The only one, where CUDA_VISIBLE_DEVICES shows every rank one of its own;
// else there must be one for each rank on the machine: ConfigError.
int gpu_of_rank(const LaunchedAs& launched, int visible);

// All ranks call it with what identifies their GPU among all. ConfigError when two are the same, which NCCL
// refuses in words of its own, or hangs at.
void check_gpus_differ(const Communicator& comm, const std::string& gpu_id);

}  // namespace saslm
