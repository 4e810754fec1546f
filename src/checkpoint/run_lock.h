// One process per run directory: two would overwrite each other's checkpoints and metrics.
//
// An advisory lock (flock) on RUN/.lock, so it ends with its process however that ends: there are no stale
// locks. The file stays, and its text names the last holder. A forked child shares the lock until it execs or
// exits.
#pragma once
#include <string>

#include "core/file.h"

namespace saslm {

class RunLock {
 public:
  // Creates `run_dir` when absent. Throws ConfigError naming the holder when another process has it; IoError
  // when the directory cannot be written or its file system has no locks.
  explicit RunLock(const std::string& run_dir);

 private:
  File file_;
};

}  // namespace saslm
