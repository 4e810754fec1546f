// The CPU backend's only way to use threads: tasks 0 .. count-1, dealt to whoever is free. What a task
// computes must depend on its index alone, so that results do not depend on the number of threads.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>

namespace saslm::cpu {

// A task's exception is thrown again here once all have ended; those not begun by then are left out.
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
