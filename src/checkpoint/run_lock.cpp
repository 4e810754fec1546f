#include "checkpoint/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <random>

#include "core/error.h"

namespace saslm {

namespace {

File open_lock_file(const std::string& run_dir) {
  make_dirs(run_dir);
  return File(run_dir + "/.lock", O_RDWR | O_CREAT);
}

std::string holder_of(const std::string& lock_text) {
  const std::string first_line = lock_text.substr(0, lock_text.find('\n'));
  return first_line.empty() ? "another process" : first_line;
}

std::string text_of_this_process() {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  std::random_device random;
  return "process " + std::to_string(::getpid()) + " on host " + host + "\nlock " + std::to_string(random()) +
         std::to_string(random()) + "\n";
}

}  // namespace

RunLock::RunLock(const std::string& run_dir)
    : run_dir_(run_dir), file_(open_lock_file(run_dir)), text_(text_of_this_process()) {
  if (::flock(file_.fd(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw IoError::from_errno("lock", file_.path());
    throw ConfigError("run directory " + run_dir + " is in use by " + holder_of(read_file(file_.path())) +
                      ": wait for it, stop it, or choose another --run-dir");
  }
  file_.truncate(0);
  file_.write_all(bytes_of(text_));
}

void RunLock::keep() {
  if (!path_exists(file_.path())) *this = RunLock(run_dir_);
  const std::string text = read_file(file_.path());
  if (text != text_)
    throw ConfigError("run directory " + run_dir_ + " was taken over by " + holder_of(text) +
                      " while this run was using it: nothing more is written there by this one; use one "
                      "--run-dir for each run");
}

}  // namespace saslm
