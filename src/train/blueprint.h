// All that an engine declares, in the order in which it lies in memory, before there is any: what `saslm
// plan` shows of a run is the run's own.
#pragma once
#include <memory>

#include "model/transformer.h"
#include "train/gradient_sum.h"
#include "train/model_state.h"
#include "train/optimizer.h"

namespace saslm {

template <class T>
struct Blueprint {
  // How it is trained; of no effect under Mode::infer.
  struct Training {
    int64_t ranks = 1;
    Sharing sharing = {};
    OptimConfig optim = {};
    OptimizerMaker<T> optimizer = make_optimizer<T>;
    // With memory for a copy of all state (RunShape::snapshot). Of the first rank, where the backend's memory
    // is the host's; elsewhere copies are made anyway.
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
