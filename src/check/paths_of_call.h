// The kernels that can compute a call, the fastest first.
#pragma once
#include <string>
#include <vector>

#include "ops/ops.h"

namespace saslm {

struct CallPath {
  std::string name;      // "" where there is one alone
  uint32_t variant = 0;  // as Ops::avoid takes it
  uint32_t others = 0;   // what a stream avoids so that its calls take this one
};

template <class T, class Args>
std::vector<CallPath> paths_of_call(const Ops<T>&, Stream, const Args&) {
  return {CallPath{}};
}

inline void avoid_others(Stream&, const CallPath&) {}

}  // namespace saslm
