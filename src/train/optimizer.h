// The rule that turns gradients into new weights. A new rule is a new class (and a state of its own, kept in
// the moment regions).
#pragma once
#include "train/engine.h"

namespace saslm {

// AdamW with global-norm clipping (kernels/adamw.h has the formula). Decay applies to
// tensors with two or more dimensions.
template <class T>
class AdamWOptimizer {
 public:
  AdamWOptimizer(const Engine<T>& engine, const OptimConfig& config) : engine_(engine), config_(config) {}

  // Update number t (from 1) at this learning rate, of this rank's shares, and then of all weights on all
  // ranks. From the norm of all gradients together the clip follows:
  // g *= min(1, grad_clip / (grad_norm + 1e-6)), nothing when grad_clip is 0.
  void update(double learning_rate, double grad_norm, int64_t t) const;

 private:
  const Engine<T>& engine_;
  OptimConfig config_;
};

}  // namespace saslm
