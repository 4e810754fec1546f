// `--ranks N` on one machine: nobody has to know mpirun.
#pragma once

namespace saslm {

// Starts this program N times with this process's own arguments, as ranks of one run, and waits for them:
// their exit code. Stop signals are passed on to all. ConfigError when there is no mpirun.
int launch_ranks(int ranks);

}  // namespace saslm
