// Contract: kernels/block_squares.h. Bound by memory: one read.
#include "kernels/block_squares.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"

namespace saslm::cpu {

template <class A>
void block_squares(Stream, const BlockSquares<A>& a) {
  constexpr int64_t kBlock = BlockSquares<A>::kBlock;
  a.check();
  parallel_for(a.out.size, [&](int64_t block) {
    const A* const x = a.x.data + block * kBlock;
    const int64_t size = std::min(kBlock, a.x.size - block * kBlock);
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < size; ++i) sum += double(x[i]) * double(x[i]);
    a.out[block] = sum;
  });
}

template void block_squares(Stream, const BlockSquares<float>&);
template void block_squares(Stream, const BlockSquares<double>&);

}  // namespace saslm::cpu
