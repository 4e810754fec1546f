// The model's state: weights and the optimizer's slots, where each of them is in memory, and their names in
// files. Update, checkpoints, snapshots, initialisation and the plan all read this one list.
//
// When ranks shard the optimizer's state (ZeRO-1), a rank holds only the elements of its shares
// (train/shares.h). Files always hold whole tensors.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/safetensors.h"
#include "comm/communicator.h"
#include "core/arena.h"
#include "model/module.h"
#include "train/gradient_sum.h"
#include "train/optimizer.h"

namespace saslm {

// Whole tensors with their names in files, in the files' order.
struct StateTensors {
  std::vector<ConstNamedTensor> weights, optimizer;
  // Storage of tensors that are not views of the engine's own memory. The tensors above point into it, so
  // this struct can be moved and never copied.
  std::vector<std::unique_ptr<const std::vector<float>>> memory;
};

// One number per element of some tensors.
template <class T>
struct Kept {
  std::string prefix;  // before the tensors' names in files
  std::vector<const ParamSpec*> tensors;
  Holding all;                      // packing of memory that holds every element
  std::vector<Holding> of_rank;     // each rank's packing; empty: every rank holds every element
  Slot<Vec<Accum<T>>> memory = {};  // one rank's; absent for weights, which have regions of their own

  const Holding& held_by(int rank) const { return of_rank.empty() ? all : of_rank[size_t(rank)]; }
  int64_t most() const;  // elements of the rank that holds most
};

// What the state declares before memory is allocated. Keeps a reference to the layout, in which all weights
// were declared.
template <class T>
class StatePlan {
 public:
  // snapshot: whether to declare memory for a copy of everything.
  StatePlan(Layout<T>& layout, const std::vector<StateSlot>& slots, const SumPlan<T>& sum, bool snapshot);

  const Kept<T>& weights() const { return weights_; }
  const std::vector<Kept<T>>& slots() const { return slots_; }
  const Holding& updated_by(int rank) const { return updated_[size_t(rank)]; }  // of the weights
  const Layout<T>& layout() const { return layout_; }
  Slot<Vec<float>> snapshot() const { return snapshot_; }
  int64_t elements() const;  // of everything
  // Elements that each rank sends at a time when rank 0 gathers sharded values: together one bucket.
  int64_t handed_over() const { return handed_over_; }

  StateTensors names() const;  // without values

 private:
  const Layout<T>& layout_;
  int64_t handed_over_;
  std::vector<Holding> updated_;  // by rank
  Kept<T> weights_;
  std::vector<Kept<T>> slots_;
  Slot<Vec<float>> snapshot_;
};

// Keeps references to its arguments. Files hold floats, so StateTensors exist for T = float and bf16 only.
// All ranks call initialise, store, fetch and snapshot.
template <class T>
class ModelState {
 public:
  ModelState(const StatePlan<T>& plan, const Backend<T>& backend, const Communicator& comm);

  // The elements that this rank updates, tensor by tensor.
  const std::vector<TensorPart<T>>& parts() const { return parts_; }

  // Sets (=) all weights from the seed: an element depends on (seed, tensor name, index) only.
  void initialise(uint64_t seed);

  // Sets (=) one tensor of names() to the given values: on each rank the elements that it holds, in every
  // format that the backend computes with. ShapeError for another name or size.
  void store(const ConstNamedTensor& tensor);
  StateTensors names() const { return plan_.names(); }

  // All tensors with values, on rank 0; the other ranks send their shares and get nothing. fetch: valid until
  // something is computed or stored. snapshot: a copy in memory that only the next snapshot overwrites.
  StateTensors fetch() const;
  StateTensors snapshot();
  // The step's gradients, by the weights' names; when sharded, only this rank's shares are final.
  StateTensors gradients() const;

 private:
  // Where this rank's elements begin.
  Accum<T>* memory_of(const Kept<T>& kept) const;
  Vec<Accum<T>> elements(const Kept<T>& kept, Range range) const;  // elements that this rank holds
  bool in_place(const Kept<T>& kept) const;  // whether the host can read all of it without a copy
  std::vector<ConstNamedTensor> named(const Kept<T>& kept, const Accum<T>* all) const;
  void copy_all(const Kept<T>& kept, float* all) const;  // all (=) every value; used on rank 0 only
  void gather(const Kept<T>& kept, float* all) const;
  void put(const Kept<T>& kept, int64_t first, const Accum<T>* values, int64_t count);

  const StatePlan<T>& plan_;
  Backend<T> backend_;
  const Communicator& comm_;
  std::vector<TensorPart<T>> parts_;
  std::map<std::string, std::pair<const Kept<T>*, const ParamSpec*>> by_name_;
  std::vector<float> snapshot_;  // if the arena has no memory for one
};

}  // namespace saslm
