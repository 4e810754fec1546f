#include "comm/host_ranks.h"
#include "core/error.h"

namespace saslm {

std::unique_ptr<HostRanks> join_mpi(const LaunchedAs&, double, const Waiting&) {
  throw ConfigError(
      "this build of saslm has no MPI, so it cannot be started by mpirun; start ranks by --ranks, torchrun "
      "or "
      "srun, or build it where MPI is found");
}

void abort_ranks(int) {}

}  // namespace saslm
