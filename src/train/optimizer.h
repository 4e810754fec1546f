// The rule that turns gradients into new weights. Another rule is another class, which make_optimizer names.
// What it keeps from step to step it declares, tensor by tensor; plan, checkpoints, snapshots, shares of
// ranks and verification read that (train/model_state.h).
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/layout.h"
#include "model/module.h"

namespace saslm {

// State of one number per element of some tensors. It begins as zeros.
struct StateSlot {
  std::string name;  // optimizer.safetensors has it as NAME.TENSOR
  std::function<bool(const ParamSpec&)> of = [](const ParamSpec&) { return true; };
};

// What one update is given beside the tensors.
struct UpdateStep {
  double lr = 0;
  double grad_scale = 1;  // the clip factor: the gradients are to be multiplied by it
  int64_t t = 0;          // this update's number, from 1
};

// Elements of one tensor that one rank updates: all of them, unless the tensor may be cut. All of one size.
template <class T>
struct TensorPart {
  const ParamSpec* spec = nullptr;
  Vec<Accum<T>> master;              // in/out
  Vec<T> param;                      // out: T(master); absent where that is the weight itself
  Vec<const Accum<T>> grad;          // in, before clipping
  std::vector<Vec<Accum<T>>> state;  // in/out, by slot; absent where a slot is not of this tensor
};

template <class T>
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  virtual std::vector<StateSlot> slots() const = 0;  // in the order of the file
  // Whether update must be given all of that tensor. Otherwise it may get any part of it, and results must
  // not depend on which.
  virtual bool whole(const ParamSpec&) const { return false; }

  // Queues the update of one part. Its scratch it has declared in the layout that it was made with.
  virtual void update(const Backend<T>& backend, const TensorPart<T>& part, const UpdateStep& step) const = 0;
};

// The factor that limits the norm of all gradients together to `limit`; 1 where that is 0.
//   min(1, limit / (grad_norm + 1e-6))
double clip_factor(double limit, double grad_norm);

// AdamW (kernels/adamw.h): slots m and v, of all tensors. Decay applies to tensors with two or more
// dimensions.
template <class T>
std::unique_ptr<const Optimizer<T>> make_adamw(const OptimConfig& config);

// By config.kind. The layout has all weights; it takes scratch.
template <class T>
std::unique_ptr<const Optimizer<T>> make_optimizer(Layout<T>& layout, const OptimConfig& config);

template <class T>
using OptimizerMaker =
    std::function<std::unique_ptr<const Optimizer<T>>(Layout<T>& layout, const OptimConfig& config)>;

}  // namespace saslm
