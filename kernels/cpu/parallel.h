// The CPU backend's only way to use threads: tasks 0 .. count-1, each run by the next free thread. What a
// task computes must depend on its index alone, so that results do not depend on the number of threads.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>

namespace saslm::cpu {

// An exception of a task is rethrown here after all running tasks have ended; tasks not yet begun are
// skipped.
template <class F>
void parallel_for(int64_t count, F&& task) {
  std::atomic<bool> failed = false;
  std::exception_ptr first;
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < count; ++i) {
    if (failed.load(std::memory_order_relaxed)) continue;
    try {
      task(i);
    } catch (...) {
      if (!failed.exchange(true)) first = std::current_exception();
    }
  }
  if (first) std::rethrow_exception(first);
}

// body(b, t) for every token of B sequences of T, several tokens a task.
template <class F>
void each_token(int64_t B, int64_t T, F&& body) {
  constexpr int64_t kTokensPerTask = 16;
  parallel_for((B * T + kTokensPerTask - 1) / kTokensPerTask, [&](int64_t task) {
    for (int64_t token = task * kTokensPerTask; token < B * T && token < (task + 1) * kTokensPerTask; ++token)
      body(token / T, token % T);
  });
}

}  // namespace saslm::cpu
