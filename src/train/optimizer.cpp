#include "train/optimizer.h"

#include <algorithm>

#include "core/error.h"

namespace saslm {

double clip_factor(double limit, double grad_norm) {
  return limit > 0 ? std::min(1.0, limit / (grad_norm + 1e-6)) : 1.0;
}

template <class T>
std::unique_ptr<const Optimizer<T>> make_optimizer(Layout<T>&, const OptimConfig& config) {
  switch (config.kind) {
    case OptimKind::adamw:
      return make_adamw<T>(config);
  }
  throw ConfigError("internal error: an optim.kind without an optimizer");
}

template std::unique_ptr<const Optimizer<float>> make_optimizer(Layout<float>&, const OptimConfig&);
template std::unique_ptr<const Optimizer<double>> make_optimizer(Layout<double>&, const OptimConfig&);
template std::unique_ptr<const Optimizer<bf16>> make_optimizer(Layout<bf16>&, const OptimConfig&);

}  // namespace saslm
