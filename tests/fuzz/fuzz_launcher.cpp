// Input: a line for each variable of the environment that a launcher of ranks sets.
#include <cstdlib>

#include "comm/communicator.h"
#include "core/error.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_launcher {

constexpr const char* kVariables[] = {"RANK",
                                      "WORLD_SIZE",
                                      "LOCAL_RANK",
                                      "LOCAL_WORLD_SIZE",
                                      "MASTER_ADDR",
                                      "MASTER_PORT",
                                      "TORCHELASTIC_USE_AGENT_STORE",
                                      "SASLM_LISTENER",
                                      "OMPI_COMM_WORLD_RANK",
                                      "OMPI_COMM_WORLD_SIZE",
                                      "OMPI_COMM_WORLD_LOCAL_RANK",
                                      "OMPI_COMM_WORLD_LOCAL_SIZE",
                                      "SLURM_PROCID",
                                      "SLURM_STEP_NUM_TASKS",
                                      "SLURM_LOCALID",
                                      "SLURM_NODEID",
                                      "SLURM_STEP_TASKS_PER_NODE",
                                      "SLURM_STEP_NODELIST",
                                      "SLURM_JOB_ID",
                                      "SLURM_STEP_ID",
                                      "PMI_RANK",
                                      "PMI_SIZE",
                                      "MPI_LOCALRANKID",
                                      "MPI_LOCALNRANKS",
                                      "SASLM_SECRET"};

// Puts a launcher into the environment, and takes it out again.
class Environment {
 public:
  explicit Environment(std::string_view lines) {
    for (const char* variable : kVariables) {
      const auto [value, rest] = cut(lines, "\n");
      ::setenv(variable, std::string(value).c_str(), 1);
      lines = rest;
    }
  }
  ~Environment() {
    for (const char* variable : kVariables) ::unsetenv(variable);
  }
};

bool run(std::string_view input) {
  const Environment environment(input);
  return accepts<ConfigError>([&] {
    const LaunchedAs as = launched_as();
    require(as.size >= 1 && as.rank >= 0 && as.rank < as.size, "a rank is one of its size");
    require(as.local_size >= 1 && as.local_size <= as.size, "a machine has one rank at least, all at most");
    require(as.local_rank >= 0 && as.local_rank < as.local_size, "a rank on a machine is one of its ranks");
    require(as.master_host.empty() || (as.master_port >= 1 && as.master_port <= 65535), "a port is one");
    require(as.launched || as.size == 1, "who was not launched is alone");
    require(as.to_unset.empty() == as.said_by.empty(), "what says that there are ranks can be unset");
  });
}

std::vector<std::string> seeds() {
  const std::string torchrun = "1\n4\n1\n2\nnode1\n29500\nTrue\n\n", none_of_it(8, '\n'),
                    mpirun = none_of_it + "2\n8\n1\n4\n";
  return {torchrun, mpirun, none_of_it + "\n\n\n\n" + "4\n7\n0\n3\n2(x3),1\nnode[003-005,9],other\n4711\n2\n",
          none_of_it + none_of_it + "\n\n\n\n" + "3\n8\n1\n2", ""};
}

}  // namespace of_launcher

const Target kLauncher = {
    "launcher", of_launcher::run, of_launcher::seeds, {"1048576", "1048577", " 1", "+1", "0x1"}};

}  // namespace saslm::fuzz
