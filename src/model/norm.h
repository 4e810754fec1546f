// RMSNorm or LayerNorm as a module; keeps each row's statistics for backward.
#pragma once
#include "model/module.h"

namespace saslm {

template <class T>
class Norm {
 public:
  Norm(Layout<T>& layout, const ModelConfig& model, const RunShape& run, const std::string& name) {
    const bool layernorm = model.norm.kind == NormKind::layernorm;
    eps_ = model.norm.eps;
    weight_ = layout.param(name + ".weight", {model.d_model}, "norm", Init::ones());
    if (layernorm) bias_ = layout.param(name + ".bias", {model.d_model}, "norm", Init::zeros());
    rstd_ = layout.template vec<Accum<T>>(Region::activations, name + ".rstd", run.rows());
    if (layernorm) mean_ = layout.template vec<Accum<T>>(Region::activations, name + ".mean", run.rows());
    if (layout.training()) {
      const int64_t mark = layout.mark(Region::scratch);
      partial_ = layout.template mat<Accum<T>>(Region::scratch, name + ".partial",
                                               norm_bwd_partials(run.rows()), 2 * model.d_model);
      layout.rewind(Region::scratch, mark);
    }
  }

  void fwd(const Exec<T>& e, Mat<T> y, Mat<const T> x) const {
    e.ops.norm_fwd(e.stream, {.y = y,
                              .rstd = e.rows_of(rstd_),
                              .mean = e.rows_of(mean_),
                              .x = x,
                              .w = e.arena.vector(weight_),
                              .b = e.arena.vector(bias_),
                              .eps = eps_});
  }

  // dx += the branch's share; dw, db +=. Its scratch may overlap any other module's, not dy.
  void bwd(const Exec<T>& e, Mat<T> dx, Mat<const T> dy, Mat<const T> x) const {
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
  double eps_ = 0;
};

}  // namespace saslm
