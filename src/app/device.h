// Which backend a run gets.
#pragma once
#include <string>

#include "config/config.h"

namespace saslm {

struct Backend {
  std::string description;  // "cpu, fp32, 2 threads"
};

// Sets the number of CPU threads. ConfigError when the device asked for is not in this build.
Backend choose_backend(const RuntimeConfig& runtime);

}  // namespace saslm
