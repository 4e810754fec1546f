// `--ranks N` and `--gpus N`: starts ranks on one machine without a launcher.
#pragma once
#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "comm/waiting.h"

namespace saslm {

// Starts this program `count` times with the same arguments, as ranks of one run, and waits for them. Returns
// rank 0's exit code, or that of the rank that failed first, which ends all others. The first stop signal is
// forwarded to all; the second ends them and this process.
int launch_ranks(int count);

// ConfigError if a launcher other than launch_ranks has already started ranks, so that `option` would start
// more.
void check_not_launched_twice(const LaunchedAs& launched, int64_t ranks, const std::string& option);

// How a rank waits for others: a stop signal ends every wait; of ranks started by launch_ranks, only rank 0
// prints whom it waits for.
Waiting waiting_of(const LaunchedAs& launched);

}  // namespace saslm
