// The SAS stage between projection and attention core: widens heads and features of q, k, v (arXiv
// 2507.07694; kernels/sas.h has the equations). It can follow any projection that yields per-head q, k and v.
#pragma once
#include <optional>

#include "model/projection.h"

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
  void declare_partial(Layout<T>& layout, const std::string& name);

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
class Sas {
 public:
  struct Spec {
    Layout<T>& layout;
    const ModelConfig& model;
    RunShape run;
    std::string name;  // "layers.0.attn."
    RopeSlots<T> rope;
    Qkv<T> in;                   // the projection's buffers
    Region q_region, kv_region;  // of what is made of them; scratch: to be made again for backward
  };
  explicit Sas(const Spec& spec);
  // In training, after all that is alive in bwd.
  void declare_scratch(Layout<T>& layout, const std::string& name);

  int64_t macs() const { return q_.macs() + k_.macs() + (v_ ? v_->macs() : 0); }
  Qkv<T> out() const;
  Qkv<T> out_grads(const Qkv<T>& in_grads) const;

  void fwd(const Exec<T>& e, const Qkv<T>& in) const;
  void bwd(const Exec<T>& e, const Qkv<T>& in_grads, const Qkv<T>& in) const;

 private:
  Slot<Heads<T>> raw_v_;
  SasStream<T> q_, k_;
  std::optional<SasStream<T>> v_;  // absent: values are not simulated
};

}  // namespace saslm
