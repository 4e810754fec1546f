#include "kernels/matmul.h"

#include "core/bf16.h"
#include "kernels/shape_check.h"

namespace saslm {

template <class T>
void MatmulFwd<T>::check() const {
  const ShapeCheck c("matmul_fwd");
  c.mat("x", x, x.rows, x.cols);
  c.mat("w", w, w.rows, x.cols);
  c.mat("y", y, x.rows, w.rows);
  c.vec_or_absent("bias", bias, w.rows);
  c.mat_or_absent("residual", residual, x.rows, w.rows);
}

template <class T>
void MatmulBwd<T>::check() const {
  const ShapeCheck c("matmul_bwd");
  c.mat("dy", dy, dy.rows, dy.cols);
  if (dx) {
    c.mat("w", w, dy.cols, dx.cols);
    c.mat("dx", dx, dy.rows, w.cols);
  }
  if (dw) {
    c.mat("x", x, dy.rows, dw.cols);
    c.mat("dw", dw, dy.cols, x.cols);
  }
  c.vec_or_absent("dbias", dbias, dy.cols);
}

template struct MatmulFwd<float>;
template struct MatmulFwd<double>;
template struct MatmulFwd<bf16>;
template struct MatmulBwd<float>;
template struct MatmulBwd<double>;
template struct MatmulBwd<bf16>;

}  // namespace saslm
