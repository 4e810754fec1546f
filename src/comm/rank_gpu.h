// The GPU of a rank: of the GPUs visible on its machine, the one with its local rank number.
#pragma once
#include <string>

#include "comm/communicator.h"

namespace saslm {

// The rank's GPU among `visible` ones. The only one, if CUDA_VISIBLE_DEVICES shows each rank its own;
// otherwise ConfigError unless there is one for each rank on the machine.
int gpu_of_rank(const LaunchedAs& launched, int visible);

// All ranks call it with a unique id of their GPU. ConfigError if two are the same: NCCL would give an
// unclear error, or hang.
void check_gpus_differ(const Communicator& comm, const std::string& gpu_id);

}  // namespace saslm
