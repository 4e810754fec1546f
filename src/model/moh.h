// The MoH stage between attention core and output projection: every token weighs its heads and leaves some of
// them out (arXiv 2410.11842; kernels/head_gates.h has the equations). It can follow any projection, and SAS.
// All heads are computed all the same: what a dense trainer would save by leaving some out is little.
//
// Backward adds the stage's share of the load-balance loss, balance_weight / n_layer, so that the model's is
// the mean over its layers. Loads are those of one call's tokens.
#pragma once
#include "model/linear.h"
#include "model/stage.h"

namespace saslm {

template <class T>
class Moh final : public HeadsStage<T> {
 public:
  static constexpr const char* kName = "moh";
  static constexpr bool kAddsLoss = true;
  static bool present(const AttentionConfig& a) { return a.moh.has_value(); }

  explicit Moh(const HeadsSpec<T>& spec);
  void declare_scratch(Layout<T>& layout) override;

  int64_t macs() const override { return router_.macs() + y_.shape.H * y_.shape.D; }
  Slot<Heads<T>> out() const override { return y_; }
  Slot<Heads<T>> out_grad() const override { return dx_; }

  // out() = the heads, weighed by what the router makes of h
  void fwd(const Exec<T>& e, Mat<const T> h) const override;
  void bwd(const Exec<T>& e) const override;
  void bwd_h(const Exec<T>& e, Mat<T> dh, Mat<const T> h) const override;

 private:
  Linear<T> router_;  // rows: a score for each head; two for the kinds, when there are shared heads
  HeadRouting routing_;
  double aux_weight_ = 0;
  std::string name_;           // "layers.0.attn.moh."
  Slot<Heads<T>> x_, dx_, y_;  // (B, T, H, D)
  Slot<Mat<T>> scores_;        // (N, H + 2); from bwd to bwd_h their gradient
  Slot<Vec<int32_t>> chosen_;  // (N * top_k)
  Slot<Vec<Accum<T>>> load_;   // (H - n_shared_head), in backward_
  Extent backward_;
};

}  // namespace saslm
