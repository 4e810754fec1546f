// SIGTERM, SIGINT, SIGUSR1, SIGHUP (a terminal that is closed; not under nohup) and SIGXCPU (ulimit -S -t)
// request a clean end: finish the step, save, exit 75. A closed log pipe (SIGPIPE) does not end the run.
#pragma once
#include <csignal>

namespace saslm {

// The stop signals that are not ignored in this process.
sigset_t stop_signals();

// From now on the first signal only sets stop_requested(); the second ends the process at once. Call before
// any thread is started.
void watch_stop_signals();
bool stop_requested();

}  // namespace saslm
