// The attention sublayer: a projection, then stages in the order of stages.h.
//
// clang-format off
//   project      x -> q, k, v                                          model/projection.h, one file per way to make them
//   before core  q, k, v -> q, k, v: SAS                               model/stage.h, one file per stage
//   core         causal softmax attention, in windows where asked for  kernels/attention.h
//   after core   heads -> heads: mean of groups, MoH                   model/stage.h
//   out          W_O of the last heads
// clang-format on
//
// The cache (Mode::infer) holds what the core reads: under SAS the simulated, rotated keys and values. A
// token's simulation depends on that token alone, so it is done once; caching the narrower raw k and v
// instead would save memory (2 H D against Hs (Ds + D) numbers a token) but repeat the simulation of every
// past token at every new one.
#pragma once
#include <memory>
#include <vector>

#include "model/linear.h"
#include "model/stage.h"

namespace saslm {

template <class T>
class Attention {
 public:
  Attention(Layout<T>& layout, const ModelConfig& model, const RunShape& run, int64_t layer,
            const std::string& name, const RopeSlots<T>& rope);

  // Multiply-adds per token, forward, those pairs of T positions counted that the mask leaves.
  double macs(int64_t T_) const;
  double remade_macs() const;  // of which backward repeats, beside what it computes anyway

  // x_out = x_in + attention(h)
  void fwd(const Exec<T>& e, Mat<T> x_out, Mat<const T> x_in, Mat<const T> h) const;
  // dh = from dx, the gradient of x_out; the weights' gradients +=
  void bwd(const Exec<T>& e, Mat<T> dh, Mat<const T> dx, Mat<const T> h) const;

 private:
  void add_projection(const Sublayer<T>& s);
  void add_stages_before_core(const Sublayer<T>& s);
  void declare_core(const Sublayer<T>& s);
  void add_stages_after_core(const Sublayer<T>& s);
  void declare_scratch(const Sublayer<T>& s);

  // From q, k, v to the last heads, and from the gradient of these to those of the projection.
  void stages_fwd(const Exec<T>& e, Mat<const T> h) const;
  void stages_bwd(const Exec<T>& e, Mat<const T> h) const;
  void core_fwd(const Exec<T>& e) const;
  void core_bwd(const Exec<T>& e) const;

  std::unique_ptr<Projection<T>> projection_;
  std::vector<std::unique_ptr<QkvStage<T>>> before_core_;
  std::vector<std::unique_ptr<HeadsStage<T>>> after_core_;
  Linear<T> out_;

  Qkv<T> qkv_, dqkv_;       // what the core reads, and its gradients
  Slot<Heads<T>> o_;        // (B, T, Hs, Dv), what the core computes
  Slot<Heads<T>> in_core_;  // what it computes of them beside, for a stage in the core; else absent
  Slot<Heads<T>> do_;       // gradient of in_core_, or of o_
  Slot<Heads<T>> y_, dy_;   // (B, T, H, Dv), what W_O reads, and its gradient
  Slot<Vec<Accum<T>>> lse_;
  Slot<Vec<Accum<T>>> core_scratch_;     // in core_bwd_
  Extent backward_, stages_, core_bwd_;  // scratch: of bwd; within it of the stages and core; of core_bwd
  double scale_ = 0;
  AttentionMask mask_;
};

}  // namespace saslm
