// A model with its memory and its backend: what training, evaluation, generation and the benchmarks start
// from.
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
  // run.micro_batches are one rank's; sharing, optim and the optimizer count for training alone. MachineError
  // when the backend has not the memory. ConfigError when the ranks cannot share the work as they are asked
  // to.
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

  // The losses and the gradients of one step: of this rank's micro-batches one after the other, then summed
  // over all ranks and read once, which waits for it all. The sums' order depends on the step's micro-batches
  // alone, not on who computed them (train/gradient_sum.h); over ranks they begin within the last of them.
  // Every micro-batch is of the shape that the engine was made for; its tokens last until the next is asked
  // for.
  using MicroBatches = std::function<TokenBatch(int64_t micro)>;
  struct Totals {
    double loss = 0;  // nats per target, the mean over the step
    std::optional<double>
        aux_loss;          // likewise, of what modules add to it; none in a model without such terms
    double grad_norm = 0;  // Euclidean, of the mean's gradients, all together
  };
  Totals compute_gradients(const MicroBatches& batches);

  // Update number t (from 1) by these gradients, whose norm decides how they are clipped: of this rank's
  // shares of the weights; then of all weights on all ranks, which goes on beside until something needs them.
  void update(double learning_rate, double grad_norm, int64_t t);

  // Of one batch on this rank, without gradients, in nats, summed over its targets; waits for it.
  double loss(const TokenBatch& batch);

  // The weights, and what the optimizer keeps of them. All ranks call it.
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
