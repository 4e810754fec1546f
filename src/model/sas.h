// The SAS stage between projection and attention core: widens heads and features of q, k, v, and rotates q
// and k (arXiv 2507.07694; kernels/sas.h has the equations). It can follow any projection.
#pragma once
#include <optional>

#include "model/stage.h"

namespace saslm {

// The simulation of one of q, k, v.
template <class T>
class SasStream {
 public:
  struct Spec {
    std::string name;  // "layers.0.attn.sas.q."
    const SasConfig& sas;
    SasShape shape;      // channels in and out, widths in and out
    int64_t n_head = 0;  // real query heads: which channel a simulated head copies at first
    Region y_region;     // tables when y serves as the cache, scratch when backward has fwd called again
    RopeSlots<T> rope;
  };
  SasStream(Layout<T>& layout, const RunShape& run, const Spec& spec);
  // After y_grad() of all streams, which are alive during each one's bwd.
  void declare_scratch(Layout<T>& layout, const std::string& name);

  int64_t macs() const;  // per token, forward
  Slot<Heads<T>> y() const { return y_; }
  Slot<Heads<T>> y_grad() const { return dy_; }

  void fwd(const Exec<T>& e, const Slot<Heads<T>>& x) const;
  // dx = from y_grad(); the weights' gradients +=
  void bwd(const Exec<T>& e, const Slot<Heads<T>>& dx, const Slot<Heads<T>>& x) const;

 private:
  struct Weights {
    Param conv1_w, conv1_b, conv2_w, conv2_b, proj1_w, proj1_b, proj2_w, proj2_b;
  };
  void declare_weights(Layout<T>& layout, const Spec& spec);
  SasParams<const T> weights(const Exec<T>& e) const;
  SasParams<Accum<T>> gradients(const Exec<T>& e) const;

  SasShape shape_;
  RopeSlots<T> rope_;
  Weights w_;
  Slot<Heads<T>> y_, dy_;
  Slot<Vec<Accum<T>>> partial_;  // of backward
  Extent backward_;
};

template <class T>
class Sas final : public QkvStage<T> {
 public:
  static constexpr const char* kName = "sas";
  static constexpr bool kRotates = true;
  static bool present(const AttentionConfig& a) { return a.sas.has_value(); }
  static bool makes_v(const AttentionConfig& a) { return a.sas->values; }

  explicit Sas(const QkvSpec<T>& spec);
  void declare_scratch(Layout<T>& layout) override;

  int64_t macs() const override { return q_->macs() + k_->macs() + (v_ ? v_->macs() : 0); }
  Qkv<T> out() const override;
  Qkv<T> out_grads() const override;
  bool is_remade() const override { return is_remade_; }

  void fwd(const Exec<T>& e, Mat<const T> h) const override;
  void bwd(const Exec<T>& e) const override;

 private:
  Qkv<T> in_, in_grads_;
  std::string name_;                   // "layers.0.attn.sas."
  bool is_remade_ = false;             // Recompute::sim
  std::optional<SasStream<T>> q_, k_;  // always there
  std::optional<SasStream<T>> v_;      // absent: values are not simulated
};

}  // namespace saslm
