// The CPU backend's only way to use threads: tasks 0 .. count-1, dealt to whoever is free. What a task
// computes must depend on its index alone, so that results do not depend on the number of threads.
#pragma once
#include <cstdint>

namespace saslm::cpu {

template <class F>
void parallel_for(int64_t count, F&& task) {
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < count; ++i) task(i);
}

}  // namespace saslm::cpu
