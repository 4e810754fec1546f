#include <cstdlib>
#include <string>

#include "comm/communicator.h"
#include "core/error.h"

namespace saslm {
namespace {

int number_in(const char* variable, int otherwise) {
  const char* const text = std::getenv(variable);
  if (text == nullptr || *text == '\0') return otherwise;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (*end != '\0' || value < 0 || value > 1 << 20)
    throw ConfigError(std::string("the environment's ") + variable +
                      " should be a rank or a number of ranks, is " + text);
  return int(value);
}

// Names of rank, size and ranks on this machine, by launcher.
struct Launcher {
  const char *rank, *size, *local_size;
};
constexpr Launcher kLaunchers[] = {
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"},  // Open MPI's mpirun
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"},                                     // MPICH's
};

}  // namespace

LaunchedAs launched_as() {
  for (const Launcher& launcher : kLaunchers) {
    const int size = number_in(launcher.size, 0);
    if (size == 0) continue;
    const int rank = number_in(launcher.rank, 0), local_size = number_in(launcher.local_size, size);
    if (rank >= size || local_size < 1 || local_size > size)
      throw ConfigError("the environment speaks of rank " + std::to_string(rank) + " of " +
                        std::to_string(size) + ", with " + std::to_string(local_size) + " on this machine (" +
                        launcher.rank + ", " + launcher.size + ", " + launcher.local_size +
                        "), which no launcher makes; unset them");
    return {.rank = rank, .size = size, .local_size = local_size, .launched = true};
  }
  return {};
}

}  // namespace saslm
