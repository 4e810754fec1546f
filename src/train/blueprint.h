// Everything that an engine declares, in the order of its memory, before memory is allocated. `saslm plan`
// reads the same Blueprint as the run, so both have the same sizes.
#pragma once
#include <memory>

#include "model/transformer.h"
#include "train/gradient_sum.h"
#include "train/model_state.h"
#include "train/optimizer.h"

namespace saslm {

template <class T>
struct Blueprint {
  // Ignored under Mode::infer.
  struct Training {
    int64_t ranks = 1;
    Sharing sharing = {};
    OptimConfig optim = {};
    OptimizerMaker<T> optimizer = make_optimizer<T>;
    // Whether to plan memory for a copy of all state (RunShape::snapshot). True on rank 0 of a backend that
    // computes in host memory; other ranks need none, and other backends copy to the host anyway.
    bool snapshot = false;
  };

  Blueprint(const ModelConfig& config, const RunShape& run, Mode mode, const Training& training);
  Blueprint(const Blueprint&) = delete;
  Blueprint& operator=(const Blueprint&) = delete;

  Layout<T> layout;
  Transformer<T> model;
  std::unique_ptr<const Optimizer<T>> optimizer;  // null under Mode::infer
  SumPlan<T> sum;
  StatePlan<T> state;
};

}  // namespace saslm
