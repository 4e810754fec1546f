// A name for what this thread queues while a NamedRange lives, as profilers of a GPU show it above the
// kernels (docs/performance.md). Ranges nest. Where the backend has none, as on a CPU, nothing is called.
//
//   const NamedRange range(e.ops, "attention");
#pragma once
#include "ops/ops.h"

namespace saslm {

class [[nodiscard]] NamedRange {
 public:
  template <class T>
  NamedRange(const Ops<T>& ops, const char* name) : end_(ops.end_range) {
    if (end_ != nullptr) ops.begin_range(name);
  }
  ~NamedRange() {
    if (end_ != nullptr) end_();
  }
  NamedRange(const NamedRange&) = delete;
  NamedRange& operator=(const NamedRange&) = delete;

 private:
  void (*end_)();
};

}  // namespace saslm
