#include "kernels/tensor_product.h"

#include "core/bf16.h"
#include "kernels/shape_check.h"

namespace saslm {

template <class T>
void TensorProductFwd<T>::check() const {
  const ShapeCheck c("tensor_product_fwd");
  c.heads("y", y, y.B, y.T, y.H, y.D);
  c.heads("a", a, y.B, y.T, a.H, y.H);
  c.heads("b", b, y.B, y.T, a.H, y.D);
}

template <class T>
void TensorProductBwd<T>::check() const {
  const ShapeCheck c("tensor_product_bwd");
  c.heads("dy", dy, dy.B, dy.T, dy.H, dy.D);
  c.heads("a", a, dy.B, dy.T, a.H, dy.H);
  c.heads("b", b, dy.B, dy.T, a.H, dy.D);
  c.heads("da", da, dy.B, dy.T, a.H, dy.H);
  c.heads("db", db, dy.B, dy.T, a.H, dy.D);
}

template struct TensorProductFwd<float>;
template struct TensorProductFwd<double>;
template struct TensorProductFwd<bf16>;
template struct TensorProductBwd<float>;
template struct TensorProductBwd<double>;
template struct TensorProductBwd<bf16>;

}  // namespace saslm
