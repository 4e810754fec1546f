// Working memory of one thread: it grows to the largest size asked for and is then kept, so that a step in
// steady state allocates nothing.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace saslm::cpu {

// n elements, aligned to a cache line, contents unspecified. One buffer per thread and (T, Tag): the next
// call with the same pair on the same thread returns the same memory, so give each buffer that is in use
// together with another a tag of its own: thread_scratch<float, struct PackedKeys>(n).
template <class T, class Tag = void>
T* thread_scratch(int64_t n) {
  struct alignas(64) Line {
    T values[64 / sizeof(T)];
  };
  thread_local std::vector<Line> lines;
  const size_t wanted = (size_t(n) * sizeof(T) + sizeof(Line) - 1) / sizeof(Line);
  if (lines.size() < wanted) {
    lines.clear();  // nothing is worth copying to the larger buffer
    lines.resize(wanted);
  }
  return reinterpret_cast<T*>(lines.data());
}

}  // namespace saslm::cpu
