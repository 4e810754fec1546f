#include "kernels/accumulate.h"

#include "kernels/shape_check.h"

namespace saslm {

template <class A>
void Accumulate<A>::check() const {
  ShapeCheck("accumulate").vec("x", x, y.size);
}

template struct Accumulate<float>;
template struct Accumulate<double>;

}  // namespace saslm
