#include "checkpoint/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "core/error.h"

namespace saslm {

namespace {

File open_lock_file(const std::string& run_dir) {
  make_dirs(run_dir);
  return File(run_dir + "/.lock", O_RDWR | O_CREAT);
}

}  // namespace

RunLock::RunLock(const std::string& run_dir) : file_(open_lock_file(run_dir)) {
  if (::flock(file_.fd(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw IoError::from_errno("lock", file_.path());
    std::string holder = read_file(file_.path());
    while (!holder.empty() && holder.back() == '\n') holder.pop_back();
    throw ConfigError("run directory " + run_dir + " is in use by " +
                      (holder.empty() ? "another process" : holder) +
                      ": wait for it, stop it, or choose another --run-dir");
  }
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  file_.truncate(0);
  file_.write_all(bytes_of("process " + std::to_string(::getpid()) + " on host " + host + "\n"));
}

}  // namespace saslm
