// `--ranks N` and `--gpus N` on one machine: nobody has to know a launcher.
#pragma once
#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "comm/waiting.h"

namespace saslm {

// Starts this program `count` times with this process's own arguments, as ranks of one run, and waits for
// them. Returns rank 0's exit code, or that of the rank that failed first: all others are then ended. A first
// stop signal is passed on to all; a second ends them, and this process.
int launch_ranks(int count);

// ConfigError where a launcher has started ranks already, of whom this process is one, and `ranks` of
// `option` would be more; unless it was launch_ranks.
void check_not_launched_twice(const LaunchedAs& launched, int64_t ranks, const std::string& option);

// How a rank waits for the others: a stop signal ends every wait; of ranks that this program has started, the
// first alone says what it waits for.
Waiting waiting_of(const LaunchedAs& launched);

}  // namespace saslm
