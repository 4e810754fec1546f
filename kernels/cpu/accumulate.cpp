// Contract: kernels/accumulate.h. Bound by memory: two reads and a write an element.
#include "kernels/accumulate.h"

#include <algorithm>

#include "core/dims.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace saslm::cpu {

template <class A>
void accumulate(Stream, const Accumulate<A>& a) {
  constexpr int64_t kElementsPerTask = 16384;
  a.check();
  parallel_for(ceil_div(a.y.size, kElementsPerTask), [&](int64_t task) {
    const int64_t first = task * kElementsPerTask;
    each_vector<A>(std::min(kElementsPerTask, a.y.size - first), [&](int64_t offset, auto n) {
      A* const y = a.y.data + first + offset;
      store(y, load(y, n) + load(a.x.data + first + offset, n), n);
    });
  });
}

template void accumulate(Stream, const Accumulate<float>&);
template void accumulate(Stream, const Accumulate<double>&);

}  // namespace saslm::cpu
