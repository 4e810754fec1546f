// SIGTERM, SIGINT, SIGUSR1, SIGHUP (a terminal that is closed; not under nohup) and SIGXCPU (ulimit -S -t)
// ask for a clean end: finish the step, save, exit 75. A log that nobody reads any more (SIGPIPE) is no
// reason to end.
#pragma once
#include <csignal>

namespace saslm {

// Those of them that count in this process.
sigset_t stop_signals();

// From now on the first signal only sets what stop_requested() returns; the second ends the process at once.
// To be called before any other thread is started.
void watch_stop_signals();
bool stop_requested();

}  // namespace saslm
