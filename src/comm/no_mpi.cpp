#include "comm/host_ranks.h"
#include "core/error.h"

namespace saslm {

std::unique_ptr<HostRanks> join_mpi(const LaunchedAs&, double, const Waiting&) {
  throw ConfigError(
      "this build of saslm has no MPI, so mpirun cannot start it; use --ranks, torchrun or srun, or build "
      "saslm where CMake finds MPI");
}

void abort_ranks(int) {}

}  // namespace saslm
