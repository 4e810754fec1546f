#include "model/sas.h"

#include <cmath>

#include "ops/named_range.h"

namespace saslm {
namespace {

// "authors": U(+-1/sqrt(fan_in)), biases too. "identity": the same draws times init_noise, plus ones that
// make a simulated head start as the real head it belongs to.
Init init_of(const SasConfig& sas, int64_t fan_in, std::function<double(int64_t)> ones = {}) {
  const double bound = 1 / std::sqrt(double(fan_in));
  if (sas.init == SasInit::authors) return Init::uniform(bound);
  Init init = Init::uniform(bound * sas.init_noise);
  init.plus = std::move(ones);
  return init;
}

// Conv1's identity: simulated head g*n_head + h copies real head h, that is input channel h / (n_head / H),
// through the centre tap. Weights are [Hs, H, K].
std::function<double(int64_t)> copy_heads(int64_t n_head, int64_t H, int64_t K) {
  return [=](int64_t index) {
    const int64_t tap = index % K, channel = index / K % H, head = index / K / H;
    return tap == K / 2 && channel == head % n_head / (n_head / H) ? 1.0 : 0.0;
  };
}

// Proj1's identity: feature i of E copies feature i of D. Weights are [E, D].
std::function<double(int64_t)> copy_features(int64_t D) {
  return [=](int64_t index) { return index % D == index / D ? 1.0 : 0.0; };
}

// x: what the projection yields, (B, T, channels, width).
template <class X>
SasShape stream_shape(const ModelConfig& model, const RunShape& run, const Heads<X>& x, bool projections) {
  const SasConfig& sas = *model.attention.sas;
  return {.tokens = run.rows(),
          .H = x.H,
          .D = x.D,
          .Hs = sas.heads ? sas.n_sim_head : x.H,
          .E = projections ? sas.sim_head_dim : x.D,
          .K = sas.kernel_size,
          .convs = sas.heads,
          .projections = projections};
}

}  // namespace

template <class T>
SasStream<T>::SasStream(Layout<T>& layout, const RunShape& run, const Spec& spec)
    : shape_(spec.shape), rope_(spec.rope) {
  declare_weights(layout, spec);
  const auto buffer = [&](Region region, const char* name) {
    return layout.heads_BHTD(region, spec.name + name, run.batch, run.seq_len, shape_.Hs, shape_.E);
  };
  y_ = buffer(spec.y_region, "y");
  if (!layout.training()) return;
  dy_ = buffer(Region::scratch, "dy");
}

template <class T>
void SasStream<T>::declare_scratch(Layout<T>& layout, const std::string& name) {
  const typename Layout<T>::Scope backward(layout, Region::scratch, &backward_);
  partial_ = layout.template vec<Accum<T>>(Region::scratch, name + "partial", sas_bwd_scratch(shape_));
}

template <class T>
void SasStream<T>::declare_weights(Layout<T>& layout, const Spec& spec) {
  const auto& [tokens, H, D, Hs, E, K, convs, projections] = shape_;
  const auto declare = [&](const char* name, const std::vector<int64_t>& shape, int64_t fan_in,
                           std::function<double(int64_t)> ones = {}) {
    return layout.param(spec.name + name, shape, "sas", init_of(spec.sas, fan_in, std::move(ones)));
  };
  if (convs) {
    w_.conv1_w = declare("conv1.weight", {Hs, H, K}, H * K, copy_heads(spec.n_head, H, K));
    w_.conv1_b = declare("conv1.bias", {Hs}, H * K);
    w_.conv2_w = declare("conv2.weight", {Hs, Hs, K}, Hs * K);
    w_.conv2_b = declare("conv2.bias", {Hs}, Hs * K);
  }
  if (projections) {
    w_.proj1_w = declare("proj1.weight", {E, D}, D, copy_features(D));
    w_.proj1_b = declare("proj1.bias", {E}, D);
    w_.proj2_w = declare("proj2.weight", {E, E}, E);
    w_.proj2_b = declare("proj2.bias", {E}, E);
  }
}

template <class T>
int64_t SasStream<T>::macs() const {
  const auto& s = shape_;
  return (s.convs ? s.K * s.D * (s.H * s.Hs + s.Hs * s.Hs) : 0) +
         (s.projections ? s.Hs * (s.D * s.E + s.E * s.E) : 0);
}

template <class T>
SasParams<const T> SasStream<T>::weights(const Exec<T>& e) const {
  const Arena<T>& a = e.arena;
  return {.kernel_size = shape_.K,
          .conv1_w = a.weight(w_.conv1_w),
          .conv1_b = a.vector(w_.conv1_b),
          .conv2_w = a.weight(w_.conv2_w),
          .conv2_b = a.vector(w_.conv2_b),
          .proj1_w = a.weight(w_.proj1_w),
          .proj1_b = a.vector(w_.proj1_b),
          .proj2_w = a.weight(w_.proj2_w),
          .proj2_b = a.vector(w_.proj2_b)};
}

template <class T>
SasParams<Accum<T>> SasStream<T>::gradients(const Exec<T>& e) const {
  const Arena<T>& a = e.arena;
  return {.kernel_size = shape_.K,
          .conv1_w = a.weight_grad(w_.conv1_w),
          .conv1_b = a.vector_grad(w_.conv1_b),
          .conv2_w = a.weight_grad(w_.conv2_w),
          .conv2_b = a.vector_grad(w_.conv2_b),
          .proj1_w = a.weight_grad(w_.proj1_w),
          .proj1_b = a.vector_grad(w_.proj1_b),
          .proj2_w = a.weight_grad(w_.proj2_w),
          .proj2_b = a.vector_grad(w_.proj2_b)};
}

template <class T>
void SasStream<T>::fwd(const Exec<T>& e, const Slot<Heads<T>>& x) const {
  e.ops.sas_fwd(
      e.stream,
      {.y = e.heads_of(y_), .x = e.heads_of(x), .w = weights(e), .rope = e.rope(rope_), .start = e.start});
}

template <class T>
void SasStream<T>::bwd(const Exec<T>& e, const Slot<Heads<T>>& dx, const Slot<Heads<T>>& x) const {
  const auto alive = e.alive(backward_);
  e.ops.sas_bwd(e.stream, {.dx = e.heads_of(dx),
                           .dw = gradients(e),
                           .dy = e.heads_of(dy_),
                           .x = e.heads_of(x),
                           .w = weights(e),
                           .rope = e.rope(rope_),
                           .partial = e.arena.at(partial_)});
}

template <class T>
Sas<T>::Sas(const QkvSpec<T>& s)
    : in_(s.in),
      in_grads_(s.in_grads),
      name_(s.name + "sas."),
      is_remade_(s.layout.training() && s.run.recompute == Recompute::sim) {
  const SasConfig& sas = *s.model.attention.sas;
  const auto stream = [&](const char* name, const Slot<Heads<T>>& x, bool projections, Region region,
                          const RopeSlots<T>& rope) {
    return SasStream<T>(s.layout, s.run,
                        {name_ + name, sas, stream_shape(s.model, s.run, x.shape, projections),
                         s.model.attention.n_head, is_remade_ ? Region::scratch : region, rope});
  };
  q_ = stream("q.", in_.q, sas.features, Region::activations, s.rope);
  k_ = stream("k.", in_.k, sas.features, s.k_region, s.rope);
  if (sas.values) v_ = stream("v.", in_.v, false, s.v_region, {});
}

template <class T>
void Sas<T>::declare_scratch(Layout<T>& layout) {
  q_->declare_scratch(layout, name_ + "q.");
  k_->declare_scratch(layout, name_ + "k.");
  if (v_) v_->declare_scratch(layout, name_ + "v.");
}

template <class T>
Qkv<T> Sas<T>::out() const {
  if (v_) return {q_->y(), k_->y(), v_->y()};
  return {q_->y(), k_->y(), in_.v, in_.q.shape.H};
}

template <class T>
Qkv<T> Sas<T>::out_grads() const {
  return {q_->y_grad(), k_->y_grad(), v_ ? v_->y_grad() : in_grads_.v};
}

template <class T>
void Sas<T>::fwd(const Exec<T>& e, Mat<const T>) const {
  const NamedRange range(e.ops, "sas");
  q_->fwd(e, in_.q);
  k_->fwd(e, in_.k);
  if (v_) v_->fwd(e, in_.v);
}

template <class T>
void Sas<T>::bwd(const Exec<T>& e) const {
  const NamedRange range(e.ops, "sas backward");
  q_->bwd(e, in_grads_.q, in_.q);
  k_->bwd(e, in_grads_.k, in_.k);
  if (v_) v_->bwd(e, in_grads_.v, in_.v);
}

template class SasStream<float>;
template class SasStream<double>;
template class SasStream<bf16>;
template class Sas<float>;
template class Sas<double>;
template class Sas<bf16>;

}  // namespace saslm
