#include "kernels/adamw.h"

#include "kernels/shape_check.h"

namespace saslm {

template <class T>
void AdamW<T>::check() const {
  const ShapeCheck c("adamw");
  c.vec("grad", grad, grad.size);
  c.vec("master", master, grad.size);
  c.vec("m", m, grad.size);
  c.vec("v", v, grad.size);
  c.vec_or_absent("param", param, grad.size);
  if (t < 1) c.fail("t", "count from 1, is " + std::to_string(t));
}

template struct AdamW<float>;
template struct AdamW<double>;

}  // namespace saslm
