#include "checkpoint/run_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <random>
#include <string_view>
#include <thread>

#include "core/error.h"

namespace saslm {

namespace {

File open_lock_file(const std::string& run_dir) {
  make_dirs(run_dir);
  return File(run_dir + "/.lock", O_RDWR | O_CREAT);
}

constexpr std::string_view kProcess = "process ", kOnHost = " on host ", kNumber = "\nlock ";
constexpr std::chrono::milliseconds kLook(2);
constexpr std::chrono::seconds kWritingTakes(
    2);  // the file is empty or has the last holder's text for a moment

// Reads the text, which may become shorter meanwhile.
std::string text_of(const File& file) {
  std::string text(4096, '\0');
  const ssize_t count = ::pread(file.fd(), text.data(), text.size(), 0);
  if (count < 0) throw IoError::from_errno("read", file.path());
  text.resize(size_t(count));
  return text;
}

bool is_whole(const std::string& lock_text) {
  return lock_text.starts_with(kProcess) && lock_text.ends_with('\n') &&
         lock_text.find(kNumber) != lock_text.npos;
}

// "process 17 on host a", from a complete text.
std::string holder_of(const std::string& lock_text) {
  return is_whole(lock_text) ? lock_text.substr(0, lock_text.find('\n')) : "another process";
}

std::string this_host() {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  return host;
}

// Whether the process in the text may still hold the lock: not if it was on this host and is gone.
bool may_live(const std::string& lock_text) {
  const std::string holder = holder_of(lock_text);
  const size_t host = holder.find(kOnHost);
  if (host == holder.npos || holder.substr(host + kOnHost.size()) != this_host()) return true;
  return ::kill(std::atoi(holder.c_str() + kProcess.size()), 0) == 0 || errno == EPERM;
}

std::string text_of_this_process() {
  std::random_device random;
  return std::string(kProcess) + std::to_string(::getpid()) + std::string(kOnHost) + this_host() +
         std::string(kNumber) + std::to_string(random()) + std::to_string(random()) + "\n";
}

}  // namespace

// A process that has just got the lock has not yet written its text. So if the text names no live process,
// read it again, and try the lock again, since its holder may be gone by then.
RunLock::RunLock(const std::string& run_dir)
    : run_dir_(run_dir), file_(open_lock_file(run_dir)), text_(text_of_this_process()) {
  const auto until = std::chrono::steady_clock::now() + kWritingTakes;
  while (::flock(file_.fd(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw IoError::from_errno("lock", file_.path());
    const std::string text = text_of(file_);
    if ((is_whole(text) && may_live(text)) || std::chrono::steady_clock::now() > until)
      throw ConfigError("run directory " + run_dir + " is in use by " + holder_of(text) +
                        ": wait for it, stop it, or choose another --run-dir");
    std::this_thread::sleep_for(kLook);
  }
  file_.truncate(0);
  file_.seek(0);
  file_.write_all(bytes_of(text_));
}

void RunLock::keep() {
  if (!path_exists(file_.path())) *this = RunLock(run_dir_);
  const auto until = std::chrono::steady_clock::now() + kWritingTakes;
  for (;; std::this_thread::sleep_for(kLook)) {
    const std::string text = text_of(File(file_.path(), O_RDONLY));
    if (text == text_) return;
    if (is_whole(text) || std::chrono::steady_clock::now() > until)
      throw ConfigError(
          "run directory " + run_dir_ + " was taken over by " + holder_of(text) +
          " while this run was using it; this run stops writing there. Give each run its own --run-dir");
  }
}

}  // namespace saslm
