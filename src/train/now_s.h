// Seconds of a clock that nobody sets: for differences alone.
#pragma once
#include <chrono>

namespace saslm {

inline double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace saslm
