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

// Of the first rank, where the backend's memory is the host's (RunShape::snapshot); elsewhere copies are made
// anyway.
template <class T>
Slot<Vec<float>> room_for_snapshot(Layout<T>& layout) {
  return layout.template vec<float>(Region::snapshot, "snapshot", 3 * layout.param_elements());
}

template <class T>
class Engine {
 public:
  // run.micro_batches are one rank's. MachineError when the backend has not the memory.
  // ConfigError when the ranks cannot share the work as they are asked to.
  Engine(const ModelConfig& config, const RunShape& run, Mode mode, const Ops<T>& ops,
         const Communicator& comm = single_rank(), const Sharing& sharing = {})
      : ops_(ops),
        comm_(comm),
        layout_(mode),
        model_(layout_, config, run),
        gradient_sum_(layout_, run.micro_batches, comm.size(), sharing),
        updated_(gradient_sum_.updated(comm.rank())),
        snapshot_(run.snapshot && comm.first() && ops.host_memory ? room_for_snapshot(layout_)
                                                                  : Slot<Vec<float>>{}),
        stream_(ops.open_stream()),
        beside_(comm.size() > 1 ? ops.open_stream() : stream_),
        arena_(layout_, ops.allocate(layout_.bytes())) {
    model_.prepare(backend());
    if (comm.size() > 1 && sharing.sum == RankSum::library) comm.all_reduce(*beside_, {}, "sum of gradients");
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
  // computed them (train/gradient_sum.h); over ranks they begin within the last of them.
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

  // This rank's part of an update: the shares of the weights that are its own, and their elements in any of
  // the weight regions. Afterwards all must know them: spread_weights, which goes on beside until a call
  // below or above needs weights.
  const std::vector<Share>& updated() const { return updated_; }
  template <class X>
  Vec<X> elements(Region region, const Share& share) const {
    X* const all = arena_.template whole<X>(region).data;
    return {all + (layout_.packed(region) ? share.packed : share.range.first), share.range.size};
  }
  void spread_weights() const { gradient_sum_.spread_weights(place()); }

  // Every weight, or its moment, by its checkpoint name, in memory of the host: the backend's own where the
  // host may touch all of it, else a copy that lasts until it is stored or dropped. fetch: with their values,
  // on the first rank; the others, which hand over their shares, get nothing. room_for: with any values, to
  // be written; store() puts them in place, of each rank what it keeps. Files hold floats: not of doubles.
  std::vector<NamedTensor> fetch(Region region, const std::string& prefix = "") const;
  std::vector<NamedTensor> room_for(Region region, const std::string& prefix = "") const;
  void store(Region region) const;
  void drop_copies() const { copies_.clear(); }
  // One of them after the other, so that they are never all in memory twice: tensors() has names and shapes,
  // and store() puts one in place.
  std::vector<ConstNamedTensor> tensors(const std::string& prefix = "") const;
  void store(Region region, const ConstNamedTensor& tensor, const std::string& prefix = "") const;
  // As fetch gives them, in memory that nothing writes to before the next snapshot of that region.
  std::vector<NamedTensor> snapshot(Region region, const std::string& prefix = "") const;

  // What a seed makes of the parameter table: an element depends on (seed, tensor name, index) alone.
  void initialise(uint64_t seed) const;

 private:
  // Elements of all weights from `first` on, in every form the backend keeps; of the moments' regions too.
  void put(Region region, int64_t first, std::span<const Accum<T>> values) const;

  std::vector<NamedTensor> named(const std::string& prefix, float* values) const;
  bool is_hosts(Region region) const { return ops_.host_memory && !layout_.packed(region); }
  void copy_all(Region region, float* all) const;  // = every value; all: the first rank's
  void gather(Region region, float* all) const;    // all: the first rank's
  void zero_totals() const;
  typename GradientSum<T>::Place place() const { return {ops_, arena_, comm_, *stream_, *beside_}; }

  const Ops<T>& ops_;
  const Communicator& comm_;
  Layout<T> layout_;
  Transformer<T> model_;
  GradientSum<T> gradient_sum_;
  std::vector<Share> updated_;
  Slot<Vec<float>>
      snapshot_;  // three times the weights: they and their moments; where the host has the backend's memory
  std::shared_ptr<const Stream> stream_, beside_;  // outlive the memory their work uses
  Arena<T> arena_;
  mutable int64_t micro_ = 0;                            // of the step, the next
  mutable std::map<Region, std::vector<float>> copies_;  // of fetch and room_for
};

}  // namespace saslm
