// A model with its memory and its backend. Training, evaluation, generation and the benchmarks each build
// one.
#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "comm/communicator.h"
#include "core/arena.h"
#include "ops/ops.h"
#include "train/blueprint.h"

namespace saslm {

template <class T>
class Engine {
 public:
  // run.micro_batches is the number per rank. sharing, optim and optimizer matter in Mode::train only.
  // MachineError if the backend has too little memory, ConfigError if the ranks cannot share the work as
  // `sharing` asks.
  Engine(const ModelConfig& config, const RunShape& run, Mode mode, const Ops<T>& ops,
         const Communicator& comm = single_rank(), const Sharing& sharing = {}, const OptimConfig& optim = {},
         const OptimizerMaker<T>& optimizer = make_optimizer<T>);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const Layout<T>& layout() const { return declared_.layout; }
  const Transformer<T>& model() const { return declared_.model; }
  const Arena<T>& arena() const { return arena_; }
  const Ops<T>& ops() const { return ops_; }
  const Communicator& comm() const { return comm_; }
  const StatePlan<T>& state_plan() const { return declared_.state; }
  Stream stream() const { return *stream_; }
  Backend<T> backend() const { return {ops_, arena_, *stream_}; }

  // Gradient accumulation over one step: runs this rank's micro-batches in turn, sums gradients and losses
  // over all ranks, and waits for the result. The order of the sums depends on the step's micro-batches only,
  // not on which rank computed them, so results are bit-identical on any number of ranks
  // (train/gradient_sum.h). The all-reduce overlaps the last micro-batch's backward. Every micro-batch has
  // the shape that the engine was made for; its tokens are read before the next one is requested.
  using MicroBatches = std::function<TokenBatch(int64_t micro)>;
  struct Totals {
    double loss = 0;                 // cross-entropy in nats per target, the mean over the step
    std::optional<double> aux_loss;  // of the modules' auxiliary terms, likewise; absent without them
    double grad_norm = 0;            // Euclidean norm of all gradients of (loss + aux_loss) together
  };
  Totals compute_gradients(const MicroBatches& batches);

  // Applies update number t (from 1) to this rank's shares of the weights, with gradients clipped by
  // grad_norm. Then the new weights are sent to all ranks, which overlaps other work until weights are
  // needed.
  void update(double learning_rate, double grad_norm, int64_t t);

  // Cross-entropy of one batch on this rank: the sum over its targets, in nats. Blocking.
  double loss(const TokenBatch& batch);

  // The weights and the optimizer's state. All ranks call it.
  ModelState<T>& state() {
    sum_.await_weights();
    return state_;
  }

 private:
  void zero_totals();
  Totals read_totals();

  const Ops<T>& ops_;
  const Communicator& comm_;
  const RunShape run_;
  const double grad_clip_;
  const Blueprint<T> declared_;
  const std::shared_ptr<const Stream> stream_, beside_;  // outlive the memory their work uses
  const Arena<T> arena_;
  GradientSum<T> sum_;
  ModelState<T> state_;
};

}  // namespace saslm
