#include "kernels/block_squares.h"

#include "kernels/shape_check.h"

namespace saslm {

template <class A>
void BlockSquares<A>::check() const {
  const ShapeCheck c("block_squares");
  c.vec("x", x, x.size);
  c.vec("out", out, ceil_div(x.size, kBlock));
}

template struct BlockSquares<float>;
template struct BlockSquares<double>;

}  // namespace saslm
