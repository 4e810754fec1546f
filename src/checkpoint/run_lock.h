// Locks a run directory for one process: two would overwrite each other's checkpoints and metrics.
//
// It is an advisory lock (flock) on RUN/.lock, which the kernel releases when the process ends, so there are
// no stale locks. The file stays; its text has the last holder and a unique number, because a lock can be
// lost: a file server that lost contact with this machine gives it to another, and if the folder is deleted
// and created again, another process locks the new file. A forked child shares the lock until it execs or
// exits.
#pragma once
#include <string>

#include "core/file.h"

namespace saslm {

class RunLock {
 public:
  // Creates `run_dir` if absent. Throws ConfigError with the holder if another process has the lock, IoError
  // if the directory is not writable or its file system has no locks.
  explicit RunLock(const std::string& run_dir);

  // Call before each write to shared files. Creates the folder and lock again if they are gone; ConfigError
  // with the new holder if another process has them.
  void keep();

 private:
  std::string run_dir_;
  File file_;
  std::string text_;  // the file's content while we hold the lock
};

}  // namespace saslm
