// Stands before libc's file operations in a program started with LD_PRELOAD, and lets some of them go wrong:
// the program itself is the one that users run.
//
//   FAULTS_UNDER   counted are operations on what lies under this folder
//   FAULTS_OF      "write": those that change the disk, or sync it, but for "append": lines added to
//                  metrics.jsonl, which a checkpoint's writing goes on beside; "read": opening to read, and
//                  reading
//   FAULTS_AT      which of them, from 0: "17", "17+" (it and all later ones), "3,8,21"; none: all are only
//                  logged
//   FAULTS_DO      what happens before such an operation, or in place of it: "kill" or "stop" (the thread),
//                  "term" (the signal, to the process), "slow:MS" (so many milliseconds pass), "short" (half
//                  of what was to be written or read), or an errno as a number
//   FAULTS_SYNCS   "lies": fsync says it did and did not
//   FAULTS_LOG     a file to which each operation's name and path are appended, a line each
//   FAULTS_CLOCK   "jumps": the time of day is years off, another way each time it is asked
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

namespace {

enum class Of { write, append, read };

std::string setting(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

struct Settings {
  std::string under = setting("FAULTS_UNDER"), at = setting("FAULTS_AT"), act = setting("FAULTS_DO"),
              log = setting("FAULTS_LOG");
  bool syncs_lie = setting("FAULTS_SYNCS") == "lies";
  Of of = setting("FAULTS_OF") == "read"     ? Of::read
          : setting("FAULTS_OF") == "append" ? Of::append
                                             : Of::write;

  bool hits(int number) const {
    for (const char* rest = at.c_str(); *rest != '\0';) {
      char* end = nullptr;
      const long wanted = std::strtol(rest, &end, 10);
      if (number == wanted || (*end == '+' && number > wanted)) return true;
      rest = *end == '\0' ? end : end + 1;
    }
    return false;
  }
};

const Settings& settings() {
  static const Settings kSettings;
  return kSettings;
}

std::string path_of(int folder, const char* path) {
  if (path[0] == '/') return path;
  char base[PATH_MAX];
  const std::string link = folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/" + std::to_string(folder);
  const ssize_t length = ::readlink(link.c_str(), base, sizeof base);
  return std::string(base, length < 0 ? 0 : size_t(length)) + (*path == '\0' ? "" : "/") + path;
}

// What to do in place of an operation: nothing, fail, or half of it.
enum class Fate { pass, fail, half };

Fate fate_of(Of of, const char* operation, int folder, const char* path) {
  static std::atomic<int> counted = 0;
  const Settings& s = settings();
  if (s.under.empty()) return Fate::pass;
  const std::string full = path_of(folder, path);
  if (of == Of::write && !std::strcmp(operation, "write") && full == s.under + "/metrics.jsonl")
    of = Of::append;
  if (of != s.of || full.compare(0, s.under.size(), s.under) != 0) return Fate::pass;
  const int number = counted++;
  if (!s.log.empty()) {
    const std::string line = std::string(operation) + " " + full.substr(s.under.size()) + "\n";
    const int log = int(::syscall(SYS_openat, AT_FDCWD, s.log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666));
    if (::syscall(SYS_write, log, line.data(), line.size()) < 0) std::abort();
    ::syscall(SYS_close, log);
  }
  if (!s.hits(number)) return Fate::pass;
  if (s.act == "short") return Fate::half;
  if (s.act == "kill" || s.act == "stop") {
    // To this very thread, so that it does not begin the operation before the others have heard.
    ::syscall(SYS_tgkill, ::getpid(), ::gettid(), s.act == "kill" ? SIGKILL : SIGSTOP);
    return Fate::pass;
  }
  if (s.act == "term") {
    ::syscall(SYS_kill, ::getpid(), SIGTERM);
    return Fate::pass;
  }
  if (int ms = 0; std::sscanf(s.act.c_str(), "slow:%d", &ms) == 1) {
    ::usleep(useconds_t(ms) * 1000);
    return Fate::pass;
  }
  errno = std::atoi(s.act.c_str());
  return Fate::fail;
}

template <class... Arguments>
long unless_it_fails(Of of, const char* operation, int folder, const char* path, long number,
                     Arguments... arguments) {
  if (fate_of(of, operation, folder, path) == Fate::fail) return -1;
  return ::syscall(number, arguments...);
}

// Of `size` bytes, all or half.
template <class... Position>
ssize_t transfer(Of of, const char* operation, long number, int fd, auto* data, size_t size,
                 Position... position) {
  const Fate fate = fate_of(of, operation, fd, "");
  if (fate == Fate::fail) return -1;
  return ::syscall(number, fd, data, fate == Fate::half && size > 1 ? size / 2 : size, position...);
}

int open_at(int folder, const char* path, int flags, unsigned mode) {
  const Of of = (flags & (O_ACCMODE | O_CREAT)) == O_RDONLY ? Of::read : Of::write;
  return int(unless_it_fails(of, "open", folder, path, SYS_openat, folder, path, flags, mode));
}

int rename_at(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
  return int(
      unless_it_fails(Of::write, "rename", to_dir, to, SYS_renameat2, from_dir, from, to_dir, to, flags));
}

int unlink_at(int folder, const char* path, int flags) {
  return int(unless_it_fails(Of::write, "unlink", folder, path, SYS_unlinkat, folder, path, flags));
}

time_t time_of_day() {
  static std::atomic<int> asked = 0;
  timespec now;
  ::syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  static const bool kJumps = setting("FAULTS_CLOCK") == "jumps";
  constexpr time_t kYear = 31'556'952;
  return kJumps ? now.tv_sec + (asked++ % 7 - 3) * 5 * kYear : now.tv_sec;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const unsigned mode = flags & O_CREAT ? va_arg(rest, unsigned) : 0;
  va_end(rest);
  return open_at(AT_FDCWD, path, flags, mode);
}
int openat(int folder, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const unsigned mode = flags & O_CREAT ? va_arg(rest, unsigned) : 0;
  va_end(rest);
  return open_at(folder, path, flags, mode);
}
ssize_t read(int fd, void* out, size_t size) {
  return transfer(Of::read, "read", SYS_read, fd, out, size);
}
ssize_t pread(int fd, void* out, size_t size, off_t at) {
  return transfer(Of::read, "read", SYS_pread64, fd, out, size, at);
}
ssize_t write(int fd, const void* data, size_t size) {
  return transfer(Of::write, "write", SYS_write, fd, data, size);
}
ssize_t pwrite(int fd, const void* data, size_t size, off_t at) {
  return transfer(Of::write, "write", SYS_pwrite64, fd, data, size, at);
}
int fsync(int fd) {
  if (fate_of(Of::write, "fsync", fd, "") == Fate::fail) return -1;
  return settings().syncs_lie ? 0 : int(::syscall(SYS_fsync, fd));
}
int fallocate(int fd, int mode, off_t at, off_t size) {
  return int(unless_it_fails(Of::write, "fallocate", fd, "", SYS_fallocate, fd, mode, at, size));
}
int ftruncate(int fd, off_t size) noexcept {
  return int(unless_it_fails(Of::write, "ftruncate", fd, "", SYS_ftruncate, fd, size));
}
int mkdir(const char* path, mode_t mode) noexcept {
  return int(unless_it_fails(Of::write, "mkdir", AT_FDCWD, path, SYS_mkdirat, AT_FDCWD, path, mode));
}
int rename(const char* from, const char* to) noexcept {
  return rename_at(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) noexcept {
  return rename_at(from_dir, from, to_dir, to, flags);
}
int unlink(const char* path) noexcept {
  return unlink_at(AT_FDCWD, path, 0);
}
int rmdir(const char* path) noexcept {
  return unlink_at(AT_FDCWD, path, AT_REMOVEDIR);
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  return unlink_at(folder, path, flags);
}
int clock_gettime(clockid_t clock, timespec* out) noexcept {
  const int result = int(::syscall(SYS_clock_gettime, clock, out));
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) out->tv_sec = time_of_day();
  return result;
}
int gettimeofday(timeval* out, void*) noexcept {
  *out = {time_of_day(), 0};
  return 0;
}
time_t time(time_t* out) noexcept {
  const time_t now = time_of_day();
  if (out != nullptr) *out = now;
  return now;
}

// The names that 64-bit file offsets had where those were an option.
int open64(const char*, int, ...) __attribute__((alias("open")));
int openat64(int, const char*, int, ...) __attribute__((alias("openat")));
ssize_t pread64(int, void*, size_t, off64_t) __attribute__((alias("pread")));
ssize_t pwrite64(int, const void*, size_t, off64_t) __attribute__((alias("pwrite")));
int fallocate64(int, int, off64_t, off64_t) __attribute__((alias("fallocate")));
int ftruncate64(int, off64_t) noexcept __attribute__((alias("ftruncate")));
}
#pragma GCC visibility pop
