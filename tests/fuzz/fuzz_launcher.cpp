// Input: a line for each variable of the environment that a launcher of ranks sets.
#include <cstdlib>

#include "comm/communicator.h"
#include "core/error.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace {

constexpr const char* kVariables[] = {
    "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "PMI_RANK", "PMI_SIZE",
    "MPI_LOCALNRANKS"};

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
    require(as.launched || as.size == 1, "who was not launched is alone");
  });
}

std::vector<std::string> seeds() {
  return {"1\n4\n2", "\n\n\n3\n8\n8", "0\n1\n1\n0\n1\n1", ""};
}

}  // namespace

const Target kLauncher = {"launcher", run, seeds, {"1048576", "1048577", " 1", "+1", "0x1"}};

}  // namespace saslm::fuzz
