// Sums of squares by blocks of a long vector: the parts of a norm, computed in parallel (or by several
// ranks) and then added up.
//
//   out[i] = sum of x[j]^2,   j = i kBlock .. min((i+1) kBlock, size) - 1
//
// Shapes   x (size), out (ceil(size / kBlock)).
// Types    x in Accum<T>; squares and sums in double.
// Writes   out =.
// Repeats  Bit for bit, and a block's sum depends on its elements alone: not on what is before it, nor after.
// Errors   ShapeError before any work.
#pragma once
#include "core/dims.h"
#include "core/stream.h"
#include "core/types.h"
#include "core/view.h"

namespace saslm {

template <class A>
struct BlockSquares {
  static constexpr int64_t kBlock = 4096;
  Vec<double> out;  // out (ceil(size / kBlock))
  Vec<const A> x;   // in  (size)
  void check() const;
};

namespace cpu {
template <class A>
void block_squares(Stream, const BlockSquares<A>&);
}  // namespace cpu
namespace cuda {
void block_squares(Stream, const BlockSquares<float>&);
}  // namespace cuda

}  // namespace saslm
