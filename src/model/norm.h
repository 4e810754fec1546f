// RMSNorm or LayerNorm as a module, over rows of any width; keeps each row's statistics for backward.
#pragma once
#include "model/module.h"

namespace saslm {

template <class T>
class Norm {
 public:
  struct Spec {
    std::string name;  // "layers.0.attn_norm": ".weight" and ".bias" are added
    std::string part;
    int64_t rows = 0, width = 0;
    NormConfig norm;
  };

  Norm() = default;
  Norm(Layout<T>& layout, const Spec& s) : eps_(s.norm.eps) {
    const bool layernorm = s.norm.kind == NormKind::layernorm;
    weight_ = layout.param(s.name + ".weight", {s.width}, s.part, Init::ones());
    if (layernorm) bias_ = layout.param(s.name + ".bias", {s.width}, s.part, Init::zeros());
    rstd_ = layout.template vec<Accum<T>>(Region::activations, s.name + ".rstd", s.rows);
    if (layernorm) mean_ = layout.template vec<Accum<T>>(Region::activations, s.name + ".mean", s.rows);
    if (layout.training()) {
      const typename Layout<T>::Scope backward(layout, Region::scratch, &backward_);
      partial_ = layout.template mat<Accum<T>>(Region::scratch, s.name + ".partial",
                                               norm_bwd_partials(s.rows), 2 * s.width);
    }
  }

  // Of the residual stream.
  Norm(Layout<T>& layout, const ModelConfig& model, const RunShape& run, const std::string& name)
      : Norm(layout, {name, "norm", run.rows(), model.d_model, model.norm}) {}

  void fwd(const Exec<T>& e, Mat<T> y, Mat<const T> x) const {
    e.ops.norm_fwd(e.stream, {.y = y,
                              .rstd = e.rows_of(rstd_),
                              .mean = e.rows_of(mean_),
                              .x = x,
                              .w = e.arena.vector(weight_),
                              .b = e.arena.vector(bias_),
                              .eps = eps_});
  }

  // dx += the branch's share; dw, db +=
  void bwd(const Exec<T>& e, Mat<T> dx, Mat<const T> dy, Mat<const T> x) const {
    const auto alive = e.alive(backward_);
    e.ops.norm_bwd(e.stream, {.dx = dx,
                              .dw = e.arena.vector_grad(weight_),
                              .db = e.arena.vector_grad(bias_),
                              .dy = dy,
                              .x = x,
                              .w = e.arena.vector(weight_),
                              .rstd = e.rows_of(rstd_),
                              .mean = e.rows_of(mean_),
                              .partial = e.arena.at(partial_)});
  }

 private:
  Param weight_, bias_;
  Slot<Vec<Accum<T>>> rstd_, mean_;
  Slot<Mat<Accum<T>>> partial_;
  Extent backward_;
  double eps_ = 0;
};

}  // namespace saslm
