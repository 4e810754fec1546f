#include "train/optimizer.h"

#include <cmath>

#include "ops/named_range.h"

namespace saslm {

template <class T>
void AdamWOptimizer<T>::update(double learning_rate, double grad_norm, int64_t t) const {
  const NamedRange range(engine_.ops(), "optimizer");
  const double clip = config_.grad_clip > 0 ? std::min(1.0, config_.grad_clip / (grad_norm + 1e-6)) : 1.0;
  AdamW<T> step{.lr = learning_rate,
                .beta1 = config_.beta1,
                .beta2 = config_.beta2,
                .eps = config_.eps,
                .grad_scale = clip,
                .t = t};
  for (const ParamSpec& spec : engine_.layout().params())
    for (const Share& share : engine_.updated()) {
      using A = Accum<T>;
      const Share part = share.within({spec.offset, spec.size});
      if (part.range.size == 0) continue;
      step.master = engine_.template elements<A>(Region::masters, part);
      step.m = engine_.template elements<A>(Region::moment1, part);
      step.v = engine_.template elements<A>(Region::moment2, part);
      step.grad = engine_.template elements<const A>(Region::gradients, part);
      if constexpr (!std::is_same_v<T, A>)
        step.param = engine_.template elements<T>(Region::parameters, part);
      step.weight_decay = spec.decays() ? config_.weight_decay : 0;
      engine_.ops().adamw(engine_.stream(), step);
    }
  engine_.spread_weights();
}

template class AdamWOptimizer<float>;
template class AdamWOptimizer<double>;
template class AdamWOptimizer<bf16>;

}  // namespace saslm
