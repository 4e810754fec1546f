// Seconds of a monotonic clock; only differences have a meaning.
#pragma once
#include <chrono>

namespace saslm {

inline double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace saslm
