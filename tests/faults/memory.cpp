// Stands before libc's allocations (operator new goes through malloc) and its making of threads from main's
// start to its end, and refuses some. Nothing here may allocate.
//
//   FAULTS_MEMORY_AT     which, from 0: "17"; "17+" (it and all later ones); none: all are only counted
//   FAULTS_MEMORY_LEAST  only those of so many bytes or more are counted (default 0)
//   FAULTS_MEMORY_LOG    a file to which a line is appended for each: its number, bytes, and a number that
//                        stands for the functions that asked for it
//   FAULTS_THREADS_FROM  from this one on, counted from 0, no thread is made
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace {

constexpr int kFrames = 12;

std::atomic<bool> g_counting = false;
std::atomic<long> g_counted = 0;
long g_at = -1, g_least = 0;
bool g_all_later = false;
int g_log = -1;
__attribute__((tls_model("initial-exec"))) thread_local bool t_inside = false;

void log_allocation(long number, size_t bytes) {
  t_inside = true;  // unwinding may allocate
  void* frames[kFrames];
  const int depth = ::backtrace(frames, kFrames);
  unsigned long stack = 0;
  for (int i = 0; i < depth; ++i) stack = stack * 1000003 + reinterpret_cast<unsigned long>(frames[i]);
  char line[96];
  const int length = std::snprintf(line, sizeof line, "%ld %zu %lu\n", number, bytes, stack);
  if (::write(g_log, line, size_t(length)) != length) std::abort();
  t_inside = false;
}

bool refused(size_t bytes) {
  if (!g_counting || t_inside || long(bytes) < g_least) return false;
  const long number = g_counted++;
  if (g_log >= 0) log_allocation(number, bytes);
  if (g_at < 0 || (g_all_later ? number < g_at : number != g_at)) return false;
  errno = ENOMEM;
  return true;
}

int (*g_main)(int, char**, char**);

int counted_main(int argc, char** argv, char** environment) {
  const char* const at = std::getenv("FAULTS_MEMORY_AT");
  const char* const log = std::getenv("FAULTS_MEMORY_LOG");
  const char* const least = std::getenv("FAULTS_MEMORY_LEAST");
  char* end = nullptr;
  if (at != nullptr && *at != '\0') g_at = std::strtol(at, &end, 10), g_all_later = *end == '+';
  if (least != nullptr) g_least = std::atol(least);
  if (log != nullptr && *log != '\0') g_log = ::open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  g_counting = g_at >= 0 || g_log >= 0;
  const int code = g_main(argc, argv, environment);
  g_counting = false;
  return code;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

void* malloc(size_t size) {
  return refused(size) ? nullptr : __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  return refused(count * size) ? nullptr : __libc_calloc(count, size);
}
void* realloc(void* old, size_t size) {
  return refused(size) ? nullptr : __libc_realloc(old, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  return refused(size) ? nullptr : __libc_memalign(alignment, size);
}
void* memalign(size_t alignment, size_t size) {
  return refused(size) ? nullptr : __libc_memalign(alignment, size);
}
int posix_memalign(void** out, size_t alignment, size_t size) {
  if (refused(size)) return ENOMEM;
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                   void* argument) {
  static std::atomic<int> made = 0;
  const char* const from = std::getenv("FAULTS_THREADS_FROM");
  if (from != nullptr && made++ >= std::atoi(from)) return EAGAIN;
  static const auto kReal = reinterpret_cast<decltype(&pthread_create)>(::dlsym(RTLD_NEXT, "pthread_create"));
  return kReal(thread, attributes, start, argument);
}

int __libc_start_main(int (*main)(int, char**, char**), int argc, char** argv, void (*init)(), void (*fini)(),
                      void (*rtld_fini)(), void* stack_end) {
  g_main = main;
  const auto real = reinterpret_cast<decltype(&__libc_start_main)>(::dlsym(RTLD_NEXT, "__libc_start_main"));
  return real(counted_main, argc, argv, init, fini, rtld_fini, stack_end);
}
}
#pragma GCC visibility pop
