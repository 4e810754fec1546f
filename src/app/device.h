// Which backend a run gets.
#pragma once
#include <string>

#include "config/config.h"

namespace saslm {

struct Backend {
  std::string description;  // "cpu, fp32, 2 threads"
};

// OpenMP's default is to spin for milliseconds at the end of every parallel loop, of which a step has
// hundreds: on a machine that does anything else, steps then take many times as long as they need. A few
// microseconds of spinning cost nothing on a quiet machine and keep the pace on a busy one
// (docs/performance.md). The runtime reads its settings before main begins, so this sets them and starts the
// program again, unless the user has set any.
void use_short_spinning(char** argv);

// Sets the number of CPU threads. ConfigError when the device asked for is not in this build.
Backend choose_backend(const RuntimeConfig& runtime);

}  // namespace saslm
