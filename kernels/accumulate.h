// One vector added to another: sums of gradients, over micro-batches and over ranks.
//
//   y += x
//
// Shapes   y, x (size); they do not overlap.
// Writes   y in place (+=).
// Repeats  Bit for bit: element by element.
// Errors   ShapeError before any work.
#pragma once
#include "core/stream.h"
#include "core/types.h"
#include "core/view.h"

namespace saslm {

template <class A>
struct Accumulate {
  Vec<A> y;        // in/out (size)
  Vec<const A> x;  // in     (size)
  void check() const;
};

namespace cpu {
template <class A>
void accumulate(Stream, const Accumulate<A>&);
}  // namespace cpu
namespace cuda {
void accumulate(Stream, const Accumulate<float>&);
}  // namespace cuda

}  // namespace saslm
