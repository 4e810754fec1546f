// The MoH stage between attention core and output projection: every token weighs its heads and leaves some of
// them out (arXiv 2410.11842; kernels/head_gates.h has the equations). It can follow any projection, and SAS.
// All heads are computed all the same: what a dense trainer would save by leaving some out is little.
//
// Backward adds the stage's share of the load-balance loss, balance_weight / n_layer, so that the model's is
// the mean over its layers. Loads are those of one call's tokens.
#pragma once
#include "model/linear.h"

namespace saslm {

template <class T>
class Moh {
 public:
  struct Spec {
    Layout<T>& layout;
    const ModelConfig& model;
    RunShape run;
    std::string name;  // "layers.0.attn."
    Slot<Heads<T>> x;  // (B, T, H, D): what the core yields
  };
  explicit Moh(const Spec& spec);

  int64_t macs() const { return router_.macs() + y_.shape.H * y_.shape.D; }  // per token, forward
  const Slot<Heads<T>>& y() const { return y_; }

  // y() = the heads x, weighed by what the router makes of h
  void fwd(const Exec<T>& e, const Slot<Heads<T>>& x, Mat<const T> h) const;
  // dy: the gradient of y() on entry, of x on return
  void bwd_heads(const Exec<T>& e, const Slot<Heads<T>>& dy, const Slot<Heads<T>>& x) const;
  // After bwd_heads. dh += ; the router's gradient +=
  void bwd_router(const Exec<T>& e, Mat<T> dh, Mat<const T> h) const;

 private:
  Linear<T> router_;  // rows: a score for each head; two for the kinds, when there are shared heads
  HeadRouting routing_;
  double aux_weight_ = 0;
  Slot<Heads<T>> y_;
  Slot<Mat<T>> scores_;        // (N, H + 2); from bwd_heads to bwd_router their gradient
  Slot<Vec<int32_t>> chosen_;  // (N * top_k)
  Slot<Vec<Accum<T>>> load_;   // (H - n_shared_head), in backward_
  Extent backward_;
};

}  // namespace saslm
