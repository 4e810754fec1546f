#include "model/attention.h"

#include <cmath>

namespace saslm {

template <class T>
Attention<T>::Attention(Layout<T>& layout, const ModelConfig& model, const RunShape& run, int64_t layer,
                        const std::string& name, const RopeSlots<T>& rope) {
  const AttentionConfig& config = model.attention;
  const bool simulated = config.sas.has_value();
  const int64_t scratch = layout.mark(Region::scratch);

  const Region cache = layout.training() ? Region::activations : Region::tables;
  const Region before_sas = simulated ? Region::activations : cache;
  const ProjectionSpec<T> spec{.layout = layout,
                               .model = model,
                               .run = run,
                               .name = name,
                               .rope = simulated ? RopeSlots<T>{} : rope,
                               .k_region = before_sas,
                               .v_region = simulated && config.sas->values ? Region::activations : cache};
  projection_ = std::visit([&](const auto& kind) { return make_projection(kind, spec); }, config.projection);
  qkv_ = projection_->out();
  dqkv_ = projection_->out_grads();
  if (simulated) {
    resimulates_ = layout.training() && run.recompute == Recompute::sim;
    sas_.emplace(typename Sas<T>::Spec{.layout = layout,
                                       .model = model,
                                       .run = run,
                                       .name = name,
                                       .rope = rope,
                                       .in = qkv_,
                                       .q_region = resimulates_ ? Region::scratch : Region::activations,
                                       .kv_region = resimulates_ ? Region::scratch : cache});
    if (!config.sas->values) v_modulo_ = qkv_.q.shape.H;
    qkv_ = sas_->out();
    dqkv_ = sas_->out_grads(dqkv_);
  }

  const int64_t H = config.n_head, Hs = qkv_.q.shape.H, Dv = qkv_.v.shape.D;
  scale_ = 1 / std::sqrt(double(qkv_.q.shape.D));
  if (const auto window = config.window_of(layer)) mask_.window = int(*window);
  const auto heads = [&](Region region, const char* part, int64_t count) {
    return layout.heads_BTHD(region, name + part, run.batch, run.seq_len, count, Dv);
  };
  if (Hs == H) {
    o_ = heads(Region::activations, "o", H);
  } else {
    o_ = layout.heads_BHTD(Region::activations, name + "o", run.batch, run.seq_len, Hs, Dv);
    y_ = heads(Region::activations, "y", H);
  }
  lse_ = layout.template vec<Accum<T>>(Region::activations, name + "lse", run.rows() * Hs);
  if (config.moh) moh_.emplace(typename Moh<T>::Spec{layout, model, run, name, core_out()});
  if (layout.training()) {
    dy_ = heads(Region::scratch, "dy", H);
    core_scratch_ = layout.template vec<Accum<T>>(Region::scratch, name + "core",
                                                  attention_bwd_scratch<T>({.B = run.batch,
                                                                            .T = run.seq_len,
                                                                            .H = Hs,
                                                                            .Gk = qkv_.k.shape.H,
                                                                            .Gv = qkv_.v.shape.H,
                                                                            .v_modulo = v_modulo_,
                                                                            .E = qkv_.q.shape.D,
                                                                            .D = Dv}));
  }
  out_ = Linear<T>(layout, {name + "o", "attention", model.d_model, H * Dv, projection_->has_biases(),
                            residual_deviation(model)});
  layout.rewind(Region::scratch, scratch);
}

template <class T>
double Attention<T>::macs(int64_t T_) const {
  const double pairs = double(qkv_.q.shape.H) * mask_.pairs(1, 0, T_) / double(T_);
  const double core = attention_fwd_macs(pairs, qkv_.q.shape.D, qkv_.v.shape.D);
  return double(projection_->macs() + (moh_ ? moh_->macs() : 0) + out_.macs()) + simulation_macs() + core;
}

template <class T>
double Attention<T>::simulation_macs() const {
  return sas_ ? double(sas_->macs()) : 0;
}

template <class T>
void Attention<T>::fwd(const Exec<T>& e, Mat<T> x_out, Mat<const T> x_in, Mat<const T> h) const {
  projection_->fwd(e, h);
  if (sas_) sas_->fwd(e, projection_->out());
  Vec<Accum<T>> lse = e.arena.at(lse_);
  lse.size = e.rows() * qkv_.q.shape.H;
  e.ops.attention_fwd(e.stream, {.o = e.heads_of(o_),
                                 .lse = lse,
                                 .y = pooled() ? e.heads_of(y_) : Heads<T>{},
                                 .q = e.heads_of(qkv_.q),
                                 .k = e.history_of(qkv_.k),
                                 .v = e.history_of(qkv_.v),
                                 .v_modulo = v_modulo_,
                                 .start = e.start,
                                 .scale = scale_,
                                 .mask = mask_});
  if (moh_) moh_->fwd(e, core_out(), h);
  out_.fwd(e, x_out, e.flat(result()), x_in);
}

template <class T>
void Attention<T>::bwd(const Exec<T>& e, Mat<T> dh, Mat<const T> dx, Mat<const T> h) const {
  out_.bwd(e, e.flat(dy_), dx, e.flat(result()));
  if (moh_) moh_->bwd_heads(e, dy_, core_out());
  if (resimulates_) sas_->fwd(e, projection_->out());
  e.ops.attention_bwd(e.stream, {.dq = e.heads_of(dqkv_.q),
                                 .dk = e.heads_of(dqkv_.k),
                                 .dv = e.heads_of(dqkv_.v),
                                 .dy = e.heads_of(dy_),
                                 .q = e.heads_of(qkv_.q),
                                 .k = e.heads_of(qkv_.k),
                                 .v = e.heads_of(qkv_.v),
                                 .o = e.heads_of(o_),
                                 .lse = e.arena.at(lse_),
                                 .scratch = e.arena.at(core_scratch_),
                                 .v_modulo = v_modulo_,
                                 .scale = scale_,
                                 .mask = mask_});
  if (sas_) sas_->bwd(e, projection_->out_grads(), projection_->out());
  projection_->bwd(e, dh, h);
  if (moh_) moh_->bwd_router(e, dh, h);
}

template class Attention<float>;
template class Attention<double>;
template class Attention<bf16>;

}  // namespace saslm
