// The mlp sublayer: down(activation(gate x, up x)); gate only for swiglu.
#pragma once
#include "model/linear.h"
#include "model/module.h"

namespace saslm {

template <class T>
class Ffn {
 public:
  Ffn() = default;
  Ffn(Layout<T>& layout, const ModelConfig& model, const RunShape& run, const std::string& name);

  // Per token, forward; hidden: without down.
  int64_t macs() const { return hidden_macs() + down_.macs(); }
  int64_t hidden_macs() const { return up_.macs() + (gate_ ? gate_.macs() : 0); }

  // activation(gate h, up h), which is kept, and all that bwd needs
  void fwd_hidden(const Exec<T>& e, Mat<const T> h) const;
  // After that: x_out = x_in + mlp(h)
  void fwd_out(const Exec<T>& e, Mat<T> x_out, Mat<const T> x_in) const;
  // dh = from dx, the gradient of x_out; the weights' gradients +=
  void bwd(const Exec<T>& e, Mat<T> dh, Mat<const T> dx, Mat<const T> h) const;

 private:
  Activation kind_ = Activation::swiglu;
  Linear<T> gate_, up_, down_;
  Slot<Mat<T>> gate_out_, up_out_, act_;  // (N, F)
  Slot<Mat<T>> dact_, dgate_, dup_;       // (N, F), in backward_
  Extent backward_;                       // scratch
};

}  // namespace saslm
