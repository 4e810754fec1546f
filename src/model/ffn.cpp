#include "model/ffn.h"

#include "ops/named_range.h"

namespace saslm {
namespace {

Activation activation_of(MlpKind kind) {
  switch (kind) {
    case MlpKind::swiglu:
      return Activation::swiglu;
    case MlpKind::gelu:
      return Activation::gelu;
    case MlpKind::relu2:
      return Activation::relu2;
  }
  throw ShapeError("internal error: no such mlp kind");
}

}  // namespace

template <class T>
Ffn<T>::Ffn(Layout<T>& layout, const ModelConfig& model, const RunShape& run, const std::string& name)
    : kind_(activation_of(model.mlp.kind)) {
  const int64_t C = model.d_model, F = model.mlp.hidden, N = run.rows();
  const bool gated = kind_ == Activation::swiglu;
  if (gated) gate_ = Linear<T>(layout, {name + "gate", "mlp", F, C, model.bias});
  up_ = Linear<T>(layout, {name + "up", "mlp", F, C, model.bias});
  down_ = Linear<T>(layout, {name + "down", "mlp", C, F, model.bias, residual_deviation(model)});

  const auto buffer = [&](Region region, const char* part) { return layout.mat(region, name + part, N, F); };
  if (gated) gate_out_ = buffer(Region::activations, "gate");
  up_out_ = buffer(Region::activations, "up");
  act_ = buffer(Region::activations, "act");
  if (!layout.training()) return;
  const typename Layout<T>::Scope backward(layout, Region::scratch, &backward_);
  dact_ = buffer(Region::scratch, "dact");
  if (gated) dgate_ = buffer(Region::scratch, "dgate");
  dup_ = buffer(Region::scratch, "dup");
}

template <class T>
void Ffn<T>::fwd_hidden(const Exec<T>& e, Mat<const T> h) const {
  const NamedRange range(e.ops, "mlp");
  if (gate_) gate_.fwd(e, e.rows_of(gate_out_), h);
  up_.fwd(e, e.rows_of(up_out_), h);
  e.ops.activation_fwd(e.stream, {.kind = kind_,
                                  .y = e.rows_of(act_),
                                  .gate = gate_ ? e.rows_of(gate_out_) : Mat<T>{},
                                  .up = e.rows_of(up_out_)});
}

template <class T>
void Ffn<T>::fwd_out(const Exec<T>& e, Mat<T> x_out, Mat<const T> x_in) const {
  const NamedRange range(e.ops, "mlp");
  down_.fwd(e, x_out, e.rows_of(act_), x_in);
}

template <class T>
void Ffn<T>::bwd(const Exec<T>& e, Mat<T> dh, Mat<const T> dx, Mat<const T> h) const {
  const NamedRange range(e.ops, "mlp backward");
  const auto alive = e.alive(backward_);
  down_.bwd(e, e.rows_of(dact_), dx, e.rows_of(act_));
  e.ops.activation_bwd(e.stream, {.kind = kind_,
                                  .dgate = gate_ ? e.rows_of(dgate_) : Mat<T>{},
                                  .dup = e.rows_of(dup_),
                                  .dy = e.rows_of(dact_),
                                  .gate = gate_ ? e.rows_of(gate_out_) : Mat<T>{},
                                  .up = e.rows_of(up_out_)});
  up_.bwd(e, dh, e.rows_of(dup_), h);
  if (gate_) gate_.bwd(e, dh, e.rows_of(dgate_), h, Linear<T>::Dx::add);
}

template class Ffn<float>;
template class Ffn<double>;
template class Ffn<bf16>;

}  // namespace saslm
