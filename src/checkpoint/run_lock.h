// One process per run directory: two would overwrite each other's checkpoints and metrics.
//
// An advisory lock (flock) on RUN/.lock, so it ends with its process however that ends: there are no stale
// locks. The file stays, and its text names the last holder and a number of its own, because a lock can be
// lost: a server that did not hear from this machine gives it to another, and whoever deletes the folder and
// starts anew there locks another file. A forked child shares the lock until it execs or exits.
#pragma once
#include <string>

#include "core/file.h"

namespace saslm {

class RunLock {
 public:
  // Creates `run_dir` when absent. Throws ConfigError naming the holder when another process has it; IoError
  // when the directory cannot be written or its file system has no locks.
  explicit RunLock(const std::string& run_dir);

  // Before anything is written that another holder might write too. Makes the folder and its lock anew when
  // they are gone; ConfigError naming the new holder when they are another's.
  void keep();

 private:
  std::string run_dir_;
  File file_;
  std::string text_;  // of the file, while it is ours
};

}  // namespace saslm
