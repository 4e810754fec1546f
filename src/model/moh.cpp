#include "model/moh.h"

namespace saslm {

template <class T>
Moh<T>::Moh(const HeadsSpec<T>& s) : name_(s.name + "moh."), x_(s.in), dx_(s.in_grad) {
  const MohConfig& moh = *s.model.attention.moh;
  const auto& [data, B, T_, H, D, b_stride, t_stride, h_stride] = s.in.shape;
  const int64_t N = s.run.rows();
  routing_ = {moh.n_shared_head, moh.top_k, moh.gates == MohGates::authors};
  aux_weight_ = moh.balance_weight / double(s.model.n_layer);
  router_ = Linear<T>(s.layout, {name_ + "router", "moh", routing_.n_logits(H), s.model.d_model});
  y_ = s.layout.heads_BTHD(Region::activations, name_ + "y", B, T_, H, D);
  scores_ = s.layout.mat(Region::activations, name_ + "scores", N, routing_.n_logits(H));
  if (s.layout.training())
    chosen_ = s.layout.template vec<int32_t>(Region::activations, name_ + "chosen", N * moh.top_k);
}

template <class T>
void Moh<T>::declare_scratch(Layout<T>& layout) {
  const typename Layout<T>::Scope backward(layout, Region::scratch, &backward_);
  load_ = layout.template vec<Accum<T>>(Region::scratch, name_ + "load", y_.shape.H - routing_.n_shared);
}

template <class T>
void Moh<T>::fwd(const Exec<T>& e, Mat<const T> h) const {
  router_.fwd(e, e.rows_of(scores_), h);
  e.ops.head_gates_fwd(e.stream, {.y = e.heads_of(y_),
                                  .chosen = {e.arena.at(chosen_).data, e.rows() * routing_.top_k},
                                  .x = e.heads_of(x_),
                                  .z = e.rows_of(scores_),
                                  .routing = routing_});
}

template <class T>
void Moh<T>::bwd(const Exec<T>& e) const {
  const auto alive = e.alive(backward_);
  e.ops.head_gates_bwd(e.stream, {.dy = e.heads_of(dx_),
                                  .z = e.rows_of(scores_),
                                  .aux_loss = e.aux_loss,
                                  .load = e.arena.at(load_),
                                  .x = e.heads_of(x_),
                                  .chosen = {e.arena.at(chosen_).data, e.rows() * routing_.top_k},
                                  .routing = routing_,
                                  .aux_weight = aux_weight_,
                                  .scale = e.scale});
}

template <class T>
void Moh<T>::bwd_h(const Exec<T>& e, Mat<T> dh, Mat<const T> h) const {
  router_.bwd(e, dh, e.rows_of(scores_), h, Linear<T>::Dx::add);
}

template class Moh<float>;
template class Moh<double>;
template class Moh<bf16>;

}  // namespace saslm
