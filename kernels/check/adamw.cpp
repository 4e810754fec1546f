#include "kernels/adamw.h"

#include <algorithm>

#include "core/bf16.h"
#include "core/dims.h"
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

void DeviceSum::check() const {
  const ShapeCheck c("sum");
  c.present("out", out != nullptr);
  c.vec("x", x, x.size);
  c.vec("partial", partial, device_sum_partials(x.size));
}

// Blocks of 256 threads with at least 8 numbers a thread; an H200 runs 1056 of them at a time.
int64_t device_sum_partials(int64_t size) {
  return std::min<int64_t>(ceil_div(size, 2048), 1024);
}

template struct AdamW<float>;
template struct AdamW<double>;
template struct AdamW<bf16>;

}  // namespace saslm
