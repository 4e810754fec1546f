// A model with its memory and its backend: what training, evaluation, generation and the benchmarks start
// from.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "comm/communicator.h"
#include "core/arena.h"
#include "core/layout.h"
#include "model/transformer.h"
#include "ops/ops.h"
#include "train/gradient_sum.h"

namespace saslm {

template <class T>
class Engine {
 public:
  // run.micro_batches are one rank's. MachineError when the backend has not the memory.
  Engine(const ModelConfig& config, const RunShape& run, Mode mode, const Ops<T>& ops,
         const Communicator& comm = single_rank())
      : ops_(ops),
        comm_(comm),
        layout_(mode),
        model_(layout_, config, run),
        gradient_sum_(layout_, run.micro_batches, comm.size()),
        stream_(ops.open_stream()),
        arena_(layout_, ops.allocate(layout_.bytes())) {
    model_.prepare(backend());
  }

  const Layout<T>& layout() const { return layout_; }
  const Transformer<T>& model() const { return model_; }
  const Arena<T>& arena() const { return arena_; }
  const Ops<T>& ops() const { return ops_; }
  const Communicator& comm() const { return comm_; }
  Stream stream() const { return *stream_; }
  Backend<T> backend() const { return {ops_, arena_, *stream_}; }

  // One step: this rank's micro-batches one after the other, then everything is summed over all ranks and
  // read once, which waits for it all. The sums' order depends on the step's micro-batches alone, not on who
  // computed them (train/gradient_sum.h).
  struct Totals {
    double loss = 0;  // nats, summed over the step's targets
    std::optional<double>
        aux_loss;          // likewise, of what modules add to it; none in a model without such terms
    double grad_norm = 0;  // Euclidean, of all gradients together
  };
  void begin_step() const;
  void add_loss_and_grads(TokenBatch batch, double scale) const;  // batch.micro is set here
  Totals end_step() const;

  // Of one batch on this rank, without gradients; waits for it.
  double loss(const TokenBatch& batch) const;

  // Every weight, or its moment, by its checkpoint name, in memory of the host: the backend's own where the
  // host may touch that, else a copy, current as of the call. store() puts what was then written there in
  // place.
  static constexpr bool kStorable = std::is_same_v<Accum<T>, float>;  // as files hold them
  std::vector<NamedTensor> fetch(Region region, const std::string& prefix = "") const requires kStorable;
  void store(Region region) const requires kStorable;

  // What a seed makes of the parameter table: an element depends on (seed, tensor name, index) alone.
  void initialise(uint64_t seed) const;

 private:
  // Weights first .. first+values.size()-1 of a tensor, in every form the backend keeps.
  void put_weights(const ParamSpec& spec, int64_t first, std::span<const Accum<T>> values) const;

  void zero_totals() const;

  const Ops<T>& ops_;
  const Communicator& comm_;
  Layout<T> layout_;
  Transformer<T> model_;
  GradientSum<T> gradient_sum_;
  std::shared_ptr<const Stream> stream_;  // outlives the memory its work uses
  Arena<T> arena_;
  mutable int64_t micro_ = 0;                            // of the step, the next
  mutable std::map<Region, std::vector<float>> copies_;  // of fetch, where the host cannot touch the original
};

}  // namespace saslm
