// The attention sublayer: project -> [simulate] -> core -> [gate] -> out.
//
//   project   x -> q, k, v                          model/projection.h, one file per kind
//   simulate  SAS: more heads, wider q and k        model/sas.h, over any projection
//   core      causal softmax attention, or within a window of this layer      kernels/attention.h
//   gate      MoH: every token weighs its heads     model/moh.h, after any of these
//   out       W_O y; y is o, or with simulated heads the mean of its head groups (PEAA), so that W_O is
//             applied once instead of once per group
//
// The cache (Mode::infer) holds what the core reads: under SAS the simulated, rotated keys and values. A
// token's simulation depends on that token alone, so it is done once; caching the narrower raw k and v
// instead would save memory (2 H D against Hs (Ds + D) numbers a token) but repeat the simulation of every
// past token at every new one.
#pragma once
#include <memory>
#include <optional>

#include "model/linear.h"
#include "model/moh.h"
#include "model/projection.h"
#include "model/sas.h"

namespace saslm {

template <class T>
class Attention {
 public:
  Attention(Layout<T>& layout, const ModelConfig& model, const RunShape& run, int64_t layer,
            const std::string& name, const RopeSlots<T>& rope);

  // Multiply-adds per token, forward, those pairs of T positions counted that the mask leaves.
  double macs(int64_t T_) const;
  double simulation_macs() const;  // of which SAS

  // x_out = x_in + attention(h)
  void fwd(const Exec<T>& e, Mat<T> x_out, Mat<const T> x_in, Mat<const T> h) const;
  // dh = from dx, the gradient of x_out; the weights' gradients +=
  void bwd(const Exec<T>& e, Mat<T> dh, Mat<const T> dx, Mat<const T> h) const;

 private:
  bool pooled() const { return bool(y_); }
  const Slot<Heads<T>>& core_out() const { return pooled() ? y_ : o_; }
  const Slot<Heads<T>>& result() const { return moh_ ? moh_->y() : core_out(); }

  std::unique_ptr<Projection<T>> projection_;
  std::optional<Sas<T>> sas_;
  std::optional<Moh<T>> moh_;
  Qkv<T> qkv_, dqkv_;  // what the core reads, and its gradients
  Linear<T> out_;
  Slot<Heads<T>> o_;   // (B, T, Hs, Dv)
  Slot<Heads<T>> y_;   // (B, T, H, Dv), the mean over head groups; absent without simulated heads
  Slot<Heads<T>> dy_;  // gradient of result(), then of core_out()
  Slot<Vec<Accum<T>>> lse_;
  Slot<Vec<Accum<T>>> core_scratch_;  // of the core's backward
  bool resimulates_ = false;          // Recompute::sim: qkv_ is scratch, and made again by bwd
  int64_t v_modulo_ = 0;
  double scale_ = 0;
  AttentionMask mask_;
};

}  // namespace saslm
