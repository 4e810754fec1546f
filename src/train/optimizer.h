// Optimizers: the rule that turns gradients into new weights. Each rule is a class that make_optimizer
// selects. An optimizer declares its state, tensor by tensor; plan, checkpoints, snapshots, ZeRO shares and
// verification read that declaration (train/model_state.h).
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/layout.h"
#include "model/module.h"

namespace saslm {

// State with one number per element of some tensors, initially zero.
struct StateSlot {
  std::string name;  // prefix in optimizer.safetensors: NAME.TENSOR
  std::function<bool(const ParamSpec&)> of = [](const ParamSpec&) { return true; };
};

// Arguments of one update besides the tensors.
struct UpdateStep {
  double lr = 0;
  double grad_scale = 1;  // the clip factor, by which update multiplies the gradients
  int64_t t = 0;          // number of this update, from 1
};

// The elements of one tensor that one rank updates: all of them if Optimizer::whole says so, else any range.
// All views have the same size.
template <class T>
struct TensorPart {
  const ParamSpec* spec = nullptr;
  Vec<Accum<T>> master;              // in/out
  Vec<T> param;                      // out: T(master); absent if the master is the weight itself
  Vec<const Accum<T>> grad;          // in, before clipping
  std::vector<Vec<Accum<T>>> state;  // in/out, by slot; absent if the slot does not have this tensor
};

template <class T>
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  virtual std::vector<StateSlot> slots() const = 0;  // in the order of the file
  // Whether update needs all of that tensor. Otherwise update may be called with any part of it, and the
  // results must not depend on which.
  virtual bool whole(const ParamSpec&) const { return false; }

  // Queues the update of one part. Scratch memory was declared in the layout when the optimizer was made.
  virtual void update(const Backend<T>& backend, const TensorPart<T>& part, const UpdateStep& step) const = 0;
};

// The factor that limits the norm of all gradients together to `limit`; 1 if limit is 0.
//   min(1, limit / (grad_norm + 1e-6))
double clip_factor(double limit, double grad_norm);

// AdamW (kernels/adamw.h): slots m and v of all tensors. Weight decay applies to tensors with two or more
// dimensions.
template <class T>
std::unique_ptr<const Optimizer<T>> make_adamw(const OptimConfig& config);

// The optimizer of config.kind. All weights are in the layout, where it may declare scratch.
template <class T>
std::unique_ptr<const Optimizer<T>> make_optimizer(Layout<T>& layout, const OptimConfig& config);

template <class T>
using OptimizerMaker =
    std::function<std::unique_ptr<const Optimizer<T>>(Layout<T>& layout, const OptimConfig& config)>;

}  // namespace saslm
