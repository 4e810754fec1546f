#include "model/attention.h"

#include <cmath>

#include "model/stages.h"

namespace saslm {

template <class T>
Attention<T>::Attention(Layout<T>& layout, const ModelConfig& model, const RunShape& run, int64_t layer,
                        const std::string& name, const RopeSlots<T>& rope) {
  using Scope = typename Layout<T>::Scope;
  const Sublayer<T> s{layout, model, run, name, rope};
  if (const auto window = model.attention.window_of(layer)) mask_.window = int(*window);
  const Scope backward(layout, Region::scratch, &backward_);
  add_projection(s);
  const Scope stages(layout, Region::scratch, &stages_);
  add_stages_before_core(s);
  declare_core(s);
  add_stages_after_core(s);
  if (layout.training()) declare_scratch(s);
  out_ = Linear<T>(layout, {name + "o", "attention", model.d_model, y_.shape.H * y_.shape.D,
                            projection_->has_biases(), residual_deviation(model)});
}

namespace {

// Which part's keys and values the core reads, and so are the cache: the projection's (0), or those of the
// n-th stage before the core.
template <class T>
struct CacheMakers {
  int k = 0, v = 0;
  bool rotates = false;  // one of these stages

  explicit CacheMakers(const AttentionConfig& config) {
    int n = 0;
    for_each_present(StagesBeforeCore<T>(), config, [&]<class S>() {
      k = ++n;
      if (S::makes_v(config)) v = n;
      rotates |= S::kRotates;
    });
  }
};

template <class T>
Region region_of(const Layout<T>& layout, bool cached) {
  return cached && !layout.training() ? Region::tables : Region::activations;
}

}  // namespace

template <class T>
void Attention<T>::add_projection(const Sublayer<T>& s) {
  const CacheMakers<T> cache(s.model.attention);
  ProjectionSpec<T> spec{s, region_of(s.layout, cache.k == 0), region_of(s.layout, cache.v == 0)};
  if (cache.rotates) spec.rope = {};
  projection_ =
      std::visit([&](const auto& kind) { return make_projection(kind, spec); }, s.model.attention.projection);
  qkv_ = projection_->out();
  dqkv_ = projection_->out_grads();
}

template <class T>
void Attention<T>::add_stages_before_core(const Sublayer<T>& s) {
  const CacheMakers<T> cache(s.model.attention);
  for_each_present(StagesBeforeCore<T>(), s.model.attention, [&]<class S>() {
    const int n = int(before_core_.size()) + 1;
    before_core_.push_back(std::make_unique<S>(
        QkvSpec<T>{s, qkv_, dqkv_, region_of(s.layout, cache.k == n), region_of(s.layout, cache.v == n)}));
    qkv_ = before_core_.back()->out();
    dqkv_ = before_core_.back()->out_grads();
  });
}

template <class T>
void Attention<T>::declare_core(const Sublayer<T>& s) {
  const int64_t Hs = qkv_.q.shape.H, Dv = qkv_.v.shape.D, B = s.run.batch, T_ = s.run.seq_len;
  scale_ = 1 / std::sqrt(double(qkv_.q.shape.D));
  bool in_core = false;
  for_each_present(StagesAfterCore<T>(), s.model.attention, [&]<class S>() { in_core |= S::kInCore; });
  if (in_core) {
    o_ = s.layout.heads_BHTD(Region::activations, s.name + "o", B, T_, Hs, Dv);
  } else {
    o_ = s.layout.heads_BTHD(Region::activations, s.name + "o", B, T_, Hs, Dv);
    if (s.layout.training()) do_ = s.layout.heads_BTHD(Region::scratch, s.name + "dy", B, T_, Hs, Dv);
  }
  lse_ = s.layout.template vec<Accum<T>>(Region::activations, s.name + "lse", s.run.rows() * Hs);
  y_ = o_;
  dy_ = do_;
}

template <class T>
void Attention<T>::add_stages_after_core(const Sublayer<T>& s) {
  for_each_present(StagesAfterCore<T>(), s.model.attention, [&]<class S>() {
    after_core_.push_back(std::make_unique<S>(HeadsSpec<T>{s, y_, dy_}));
    y_ = after_core_.back()->out();
    dy_ = after_core_.back()->out_grad();
    if (S::kInCore) {
      in_core_ = y_;
      do_ = dy_;
    }
  });
}

template <class T>
void Attention<T>::declare_scratch(const Sublayer<T>& s) {
  for (const auto& stage : before_core_) stage->declare_scratch(s.layout);
  for (const auto& stage : after_core_) stage->declare_scratch(s.layout);
  const typename Layout<T>::Scope core(s.layout, Region::scratch, &core_bwd_);
  core_scratch_ = s.layout.template vec<Accum<T>>(Region::scratch, s.name + "core",
                                                  attention_bwd_scratch<T>({.B = s.run.batch,
                                                                            .T = s.run.seq_len,
                                                                            .H = qkv_.q.shape.H,
                                                                            .Gk = qkv_.k.shape.H,
                                                                            .Gv = qkv_.v.shape.H,
                                                                            .v_modulo = qkv_.v_modulo,
                                                                            .E = qkv_.q.shape.D,
                                                                            .D = qkv_.v.shape.D}));
}

template <class T>
double Attention<T>::macs(int64_t T_) const {
  const double pairs = double(qkv_.q.shape.H) * mask_.pairs(1, 0, T_) / double(T_);
  const double core = attention_fwd_macs(pairs, qkv_.q.shape.D, qkv_.v.shape.D);
  int64_t rest = projection_->macs() + out_.macs();
  for (const auto& stage : before_core_) rest += stage->macs();
  for (const auto& stage : after_core_) rest += stage->macs();
  return core + double(rest);
}

template <class T>
double Attention<T>::remade_macs() const {
  int64_t macs = 0;
  for (const auto& stage : before_core_)
    if (stage->is_remade()) macs += stage->macs();
  return double(macs);
}

template <class T>
void Attention<T>::fwd(const Exec<T>& e, Mat<T> x_out, Mat<const T> x_in, Mat<const T> h) const {
  projection_->fwd(e, h);
  const auto alive = e.alive(stages_);
  stages_fwd(e, h);
  out_.fwd(e, x_out, e.flat(y_), x_in);
}

template <class T>
void Attention<T>::bwd(const Exec<T>& e, Mat<T> dh, Mat<const T> dx, Mat<const T> h) const {
  const auto alive = e.alive(backward_);
  {
    const auto stages_alive = e.alive(stages_);
    out_.bwd(e, e.flat(dy_), dx, e.flat(y_));
    stages_bwd(e, h);
  }
  projection_->bwd(e, dh, h);
  for (const auto& stage : before_core_) stage->bwd_h(e, dh, h);
  for (const auto& stage : after_core_) stage->bwd_h(e, dh, h);
}

template <class T>
void Attention<T>::stages_fwd(const Exec<T>& e, Mat<const T> h) const {
  for (const auto& stage : before_core_) stage->fwd(e, h);
  core_fwd(e);
  for (const auto& stage : after_core_) stage->fwd(e, h);
}

template <class T>
void Attention<T>::stages_bwd(const Exec<T>& e, Mat<const T> h) const {
  for (auto stage = after_core_.rbegin(); stage != after_core_.rend(); ++stage) (*stage)->bwd(e);
  for (const auto& stage : before_core_)
    if (stage->is_remade()) stage->fwd(e, h);
  core_bwd(e);
  for (auto stage = before_core_.rbegin(); stage != before_core_.rend(); ++stage) (*stage)->bwd(e);
}

template <class T>
void Attention<T>::core_fwd(const Exec<T>& e) const {
  Vec<Accum<T>> lse = e.arena.at(lse_);
  lse.size = e.rows() * qkv_.q.shape.H;
  e.ops.attention_fwd(e.stream, {.o = e.heads_of(o_),
                                 .lse = lse,
                                 .y = in_core_ ? e.heads_of(in_core_) : Heads<T>{},
                                 .q = e.heads_of(qkv_.q),
                                 .k = e.history_of(qkv_.k),
                                 .v = e.history_of(qkv_.v),
                                 .v_modulo = qkv_.v_modulo,
                                 .start = e.start,
                                 .scale = scale_,
                                 .mask = mask_});
}

template <class T>
void Attention<T>::core_bwd(const Exec<T>& e) const {
  const auto alive = e.alive(core_bwd_);
  e.ops.attention_bwd(e.stream, {.dq = e.heads_of(dqkv_.q),
                                 .dk = e.heads_of(dqkv_.k),
                                 .dv = e.heads_of(dqkv_.v),
                                 .dy = e.heads_of(do_),
                                 .q = e.heads_of(qkv_.q),
                                 .k = e.heads_of(qkv_.k),
                                 .v = e.heads_of(qkv_.v),
                                 .o = e.heads_of(o_),
                                 .lse = e.arena.at(lse_),
                                 .scratch = e.arena.at(core_scratch_),
                                 .v_modulo = qkv_.v_modulo,
                                 .scale = scale_,
                                 .mask = mask_});
}

template class Attention<float>;
template class Attention<double>;
template class Attention<bf16>;

}  // namespace saslm
