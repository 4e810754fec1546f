#include "app/stop_signal.h"

#include <atomic>
#include <csignal>

namespace saslm {
namespace {

std::atomic<bool> g_stop_requested = false;

// The first signal asks for a clean end after the step; the second finds the default action and ends at once.
void on_signal(int signal) {
  g_stop_requested = true;
  std::signal(signal, SIG_DFL);
}

}  // namespace

void watch_stop_signals() {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) std::signal(signal, on_signal);
}

bool stop_requested() {
  return g_stop_requested;
}

}  // namespace saslm
