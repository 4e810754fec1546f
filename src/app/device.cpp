#include "app/device.h"

#include <omp.h>

#include "core/error.h"

namespace saslm {

Backend choose_backend(const RuntimeConfig& runtime) {
  if (runtime.device == DeviceKind::cuda)
    throw ConfigError("runtime.device is cuda, but this build of saslm has no CUDA backend; use cpu or auto");
  if (runtime.threads > 0) omp_set_num_threads(int(runtime.threads));
  return {"cpu, fp32, " + std::to_string(omp_get_max_threads()) + " threads"};
}

}  // namespace saslm
