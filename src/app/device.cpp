#include "app/device.h"

#include <omp.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "core/error.h"

namespace saslm {

void use_short_spinning(char** argv) {
  for (const char* set : {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"})
    if (std::getenv(set) != nullptr) return;
  setenv("GOMP_SPINCOUNT", "3000", 1);  // GCC's runtime, in iterations
  setenv("KMP_BLOCKTIME", "0", 1);      // Clang's, in milliseconds
  std::error_code unknown;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", unknown);  // keeps our name in `ps`
  if (!unknown) execv(program.c_str(), argv);
  // Where that is not possible, the run is only slower.
}

Backend choose_backend(const RuntimeConfig& runtime) {
  if (runtime.device == DeviceKind::cuda)
    throw ConfigError("runtime.device is cuda, but this build of saslm has no CUDA backend; use cpu or auto");
  if (runtime.threads > 0) omp_set_num_threads(int(runtime.threads));
  return {"cpu, fp32, " + std::to_string(omp_get_max_threads()) + " threads"};
}

}  // namespace saslm
