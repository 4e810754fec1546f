// `--ranks N` and `--gpus N` on one machine: nobody has to know a launcher.
#pragma once

namespace saslm {

// Starts this program `count` times with this process's own arguments, as ranks of one run, and waits for
// them. Returns rank 0's exit code, or that of the rank that failed first: all others are then ended. A first
// stop signal is passed on to all; a second ends them, and this process.
int launch_ranks(int count);

}  // namespace saslm
