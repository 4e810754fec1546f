#include "train/optimizer.h"

#include <cmath>

namespace saslm {

template <class T>
void AdamWOptimizer<T>::update(double learning_rate, double grad_norm, int64_t t) const {
  const double clip = config_.grad_clip > 0 ? std::min(1.0, config_.grad_clip / (grad_norm + 1e-6)) : 1.0;
  const Arena<T>& arena = engine_.arena();
  for (const ParamSpec& spec : engine_.layout().params()) {
    using A = Accum<T>;
    AdamW<T> step{.master = arena.template tensor<A>(Region::masters, spec),
                  .m = arena.template tensor<A>(Region::moment1, spec),
                  .v = arena.template tensor<A>(Region::moment2, spec),
                  .grad = arena.template tensor<const A>(Region::gradients, spec),
                  .lr = learning_rate,
                  .beta1 = config_.beta1,
                  .beta2 = config_.beta2,
                  .eps = config_.eps,
                  .weight_decay = spec.decays() ? config_.weight_decay : 0,
                  .grad_scale = clip,
                  .t = t};
    if constexpr (!std::is_same_v<T, A>) step.param = arena.template tensor<T>(Region::parameters, spec);
    engine_.ops().adamw(engine_.stream(), step);
  }
}

template class AdamWOptimizer<float>;
template class AdamWOptimizer<double>;
template class AdamWOptimizer<bf16>;

}  // namespace saslm
