// y = x W^T (+ b), as a module: weight (out, in) and, where the model has biases, bias (out).
#pragma once
#include "model/module.h"

namespace saslm {

template <class T>
class Linear {
 public:
  struct Spec {
    std::string name;  // "layers.0.attn.q": ".weight" and ".bias" are added
    std::string part;
    int64_t out = 0, in = 0;
    bool bias = false;
    double deviation = 0.02;
  };

  Linear() = default;
  Linear(Layout<T>& layout, const Spec& s) {
    weight_ = layout.param(s.name + ".weight", {s.out, s.in}, s.part, Init::normal(s.deviation));
    if (s.bias) bias_ = layout.param(s.name + ".bias", {s.out}, s.part, Init::zeros());
  }

  explicit operator bool() const { return weight_.offset >= 0; }
  int64_t macs() const { return weight_.rows * weight_.cols; }  // per row

  // y = x W^T + b (+ residual)
  void fwd(const Exec<T>& e, Mat<T> y, Mat<const T> x, Mat<const T> residual = {}) const {
    e.ops.matmul_fwd(
        e.stream,
        {.y = y, .x = x, .w = e.arena.weight(weight_), .bias = e.arena.vector(bias_), .residual = residual});
  }

  enum class Dx { set, add };
  // dx (= | +=) dy W; the weight's and bias's gradients +=
  void bwd(const Exec<T>& e, Mat<T> dx, Mat<const T> dy, Mat<const T> x, Dx mode = Dx::set) const {
    e.ops.matmul_bwd(e.stream, {.dx = dx,
                                .dx_accumulate = mode == Dx::add,
                                .dw = e.arena.weight_grad(weight_),
                                .dbias = e.arena.vector_grad(bias_),
                                .dy = dy,
                                .x = x,
                                .w = e.arena.weight(weight_)});
  }

 private:
  Param weight_, bias_;
};

}  // namespace saslm
