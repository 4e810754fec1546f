#include "train/optimizer.h"

namespace saslm {
namespace {

template <class T>
class AdamWOptimizer : public Optimizer<T> {
 public:
  explicit AdamWOptimizer(const OptimConfig& config) : config_(config) {}

  std::vector<StateSlot> slots() const override { return {{"m"}, {"v"}}; }

  void update(const Backend<T>& backend, const TensorPart<T>& part, const UpdateStep& step) const override {
    backend.ops.adamw(backend.stream, {.master = part.master,
                                       .m = part.state[0],
                                       .v = part.state[1],
                                       .param = part.param,
                                       .grad = part.grad,
                                       .lr = step.lr,
                                       .beta1 = config_.beta1,
                                       .beta2 = config_.beta2,
                                       .eps = config_.eps,
                                       .weight_decay = part.spec->decays() ? config_.weight_decay : 0,
                                       .grad_scale = step.grad_scale,
                                       .t = step.t});
  }

 private:
  OptimConfig config_;
};

}  // namespace

template <class T>
std::unique_ptr<const Optimizer<T>> make_adamw(const OptimConfig& config) {
  return std::make_unique<AdamWOptimizer<T>>(config);
}

template std::unique_ptr<const Optimizer<float>> make_adamw(const OptimConfig&);
template std::unique_ptr<const Optimizer<double>> make_adamw(const OptimConfig&);
template std::unique_ptr<const Optimizer<bf16>> make_adamw(const OptimConfig&);

}  // namespace saslm
