#include "kernels/activation.h"

#include "core/bf16.h"
#include "kernels/shape_check.h"

namespace saslm {

template <class T>
void ActivationFwd<T>::check() const {
  const ShapeCheck c("activation_fwd");
  c.mat("up", up, up.rows, up.cols);
  c.mat("y", y, up.rows, up.cols);
  if (kind == Activation::swiglu) c.mat("gate", gate, up.rows, up.cols);
}

template <class T>
void ActivationBwd<T>::check() const {
  const ShapeCheck c("activation_bwd");
  c.mat("up", up, up.rows, up.cols);
  c.mat("dup", dup, up.rows, up.cols);
  c.mat("dy", dy, up.rows, up.cols);
  if (kind != Activation::swiglu) return;
  c.mat("gate", gate, up.rows, up.cols);
  c.mat("dgate", dgate, up.rows, up.cols);
}

template struct ActivationFwd<float>;
template struct ActivationFwd<double>;
template struct ActivationFwd<bf16>;
template struct ActivationBwd<float>;
template struct ActivationBwd<double>;
template struct ActivationBwd<bf16>;

}  // namespace saslm
