#include "app/stop_signal.h"

#include <pthread.h>

#include <atomic>
#include <csignal>
#include <thread>

namespace saslm {
namespace {

constexpr int kStopSignals[] = {SIGTERM, SIGINT, SIGUSR1, SIGXCPU};

std::atomic<bool> g_stop_requested = false;

bool is_ignored(int signal) {
  struct sigaction now = {};
  return sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

// The first signal requests a clean end after the step; the second ends the process at once. (SIGXCPU arrives
// every second; only the first one counts.)
void wait_for_signals() {
  const sigset_t set = stop_signals();
  int signal = 0;
  if (sigwait(&set, &signal) != 0) return;
  g_stop_requested = true;
  do {
    if (sigwait(&set, &signal) != 0) return;
  } while (signal == SIGXCPU);
  std::signal(signal, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  std::raise(signal);
}

}  // namespace

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kStopSignals) sigaddset(&set, signal);
  if (!is_ignored(SIGHUP))
    sigaddset(&set, SIGHUP);  // ignored under nohup; if blocked, it would still be received
  return set;
}

// Computing threads must not run signal handlers: generated code of oneDNN 2.6 points the stack pointer into
// a heap buffer, and a handler's frame would overwrite memory before that buffer. So signals are blocked
// before other threads start, which inherit that, and one thread waits for them.
void watch_stop_signals() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::thread(wait_for_signals).detach();
}

bool stop_requested() {
  return g_stop_requested;
}

}  // namespace saslm
