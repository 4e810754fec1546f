#include "app/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "app/device.h"
#include "core/error.h"

namespace saslm {
namespace {

constexpr int64_t kStack = int64_t(1) << 20;  // bytes: several times what the deepest calls were seen to take
constexpr int64_t kUsualStack = int64_t(8) << 20;

std::string kib(int64_t bytes) {
  return std::to_string(bytes >> 10) + " KiB";
}

// A new limit applies to this thread at once, but to others only after a restart of the program.
void provide_stack(char** argv) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
      limit.rlim_cur >= rlim_t(kStack))
    return;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = std::min<rlim_t>(kUsualStack, limit.rlim_max);
  if (limit.rlim_cur < rlim_t(kStack) || ::setrlimit(RLIMIT_STACK, &limit) != 0)
    throw ConfigError("the stack limit is " + kib(int64_t(before)) + " (ulimit -s), wanted at least " +
                      kib(kStack) + ": `ulimit -s " + std::to_string(kUsualStack >> 10) +
                      "` before the command, or raise the hard limit");
  std::error_code unknown;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", unknown);
  if (!unknown) ::execv(program.c_str(), argv);
  throw MachineError("cannot restart the program with a stack of " + kib(kUsualStack) + " (ulimit -s)");
}

// Parses an OpenMP size such as "512", "512k", "4 M" (KiB without a unit) to bytes; -1 if it is not a size.
int64_t openmp_size(const char* text) {
  char* end = nullptr;
  const long long count = std::strtoll(text, &end, 10);
  if (end == text || count < 0 || count > (int64_t(1) << 40)) return -1;
  while (*end == ' ') ++end;
  switch (*end | 0x20) {
    case 'b':
      return count;
    case 0x20:
      return *end == '\0' ? count << 10 : -1;
    case 'k':
      return count << 10;
    case 'm':
      return count << 20;
    case 'g':
      return std::min<int64_t>(count, int64_t(1) << 20) << 30;
    default:
      return -1;
  }
}

void check_threads_stack() {
  for (const char* variable : {"OMP_STACKSIZE", "GOMP_STACKSIZE"}) {
    const char* const text = std::getenv(variable);
    if (text == nullptr) continue;
    const int64_t bytes = openmp_size(text);
    if (bytes >= 0 && bytes < kStack)  // OpenMP reports and ignores malformed sizes
      throw ConfigError("the environment's " + std::string(variable) + "=" + text + " gives each thread " +
                        kib(bytes) + " of stack, but at least " + kib(kStack) + " is needed: unset it");
  }
}

void raise_open_file_limit() {
  constexpr rlim_t kEnough = 16384;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kEnough) return;
  limit.rlim_cur = std::min(limit.rlim_max, kEnough);
  ::setrlimit(RLIMIT_NOFILE, &limit);  // if this fails, fewer are enough
}

}  // namespace

void prepare_process(char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);
  provide_stack(argv);
  check_threads_stack();
  raise_open_file_limit();
  use_short_spinning(argv);
}

}  // namespace saslm
