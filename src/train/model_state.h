// The numbers that training changes: weights, and what the optimizer keeps of them; where each of them lies,
// and their names in files. Everything that treats them alike reads this: update, checkpoints, snapshots,
// initialisation, the plan.
//
// Where ranks share the optimizer's state, a rank has its shares' elements alone (train/shares.h). Files have
// whole tensors, whatever a rank has.
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

// Whole tensors, by their names in files, in the files' order.
struct StateTensors {
  std::vector<ConstNamedTensor> weights, optimizer;
  // Of those that do not lie where the engine computes with them. It moves and is never copied: the tensors
  // above point into it.
  std::vector<std::unique_ptr<const std::vector<float>>> memory;
};

// One number per element of some tensors.
template <class T>
struct Kept {
  std::string prefix;  // of the tensors' names in files
  std::vector<const ParamSpec*> tensors;
  Holding all;                      // memory that has every element
  std::vector<Holding> of_rank;     // each rank's own memory; empty: every rank has every element
  Slot<Vec<Accum<T>>> memory = {};  // one rank's; absent for weights, which have regions of their own

  const Holding& held_by(int rank) const { return of_rank.empty() ? all : of_rank[size_t(rank)]; }
  int64_t most() const;  // elements that a rank has
};

// What is declared before there is memory. Refers to the layout, which has all weights.
template <class T>
class StatePlan {
 public:
  // `snapshot`: with memory for a copy of everything, on the first rank.
  StatePlan(Layout<T>& layout, const std::vector<StateSlot>& slots, const SumPlan<T>& sum, bool snapshot);

  const Kept<T>& weights() const { return weights_; }
  const std::vector<Kept<T>>& slots() const { return slots_; }
  const Holding& updated_by(int rank) const { return updated_[size_t(rank)]; }  // of the weights
  const Layout<T>& layout() const { return layout_; }
  Slot<Vec<float>> snapshot() const { return snapshot_; }
  int64_t elements() const;  // of everything
  // Elements that ranks hand over at once when all values are gathered: a bucket's, in all.
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

// Refers to what it is given. Files hold floats: what deals in StateTensors is not of doubles. Calls of all
// ranks, where there are several: initialise, store, fetch, snapshot.
template <class T>
class ModelState {
 public:
  ModelState(const StatePlan<T>& plan, const Backend<T>& backend, const Communicator& comm);

  // What this rank updates, tensor by tensor.
  const std::vector<TensorPart<T>>& parts() const { return parts_; }

  // What a seed makes of the parameter table: an element depends on (seed, tensor name, index) alone.
  void initialise(uint64_t seed);

  // One tensor of names(), with values: put in place, of each rank what it keeps, and in every form that the
  // backend computes with.
  void store(const ConstNamedTensor& tensor);
  StateTensors names() const { return plan_.names(); }

  // With values, on the first rank; the others, which hand over their shares, get nothing. fetch: as they are
  // until something is computed or stored. snapshot: in memory that only the next snapshot writes to.
  StateTensors fetch() const;
  StateTensors snapshot();
  // The gradients of the step, by the weights' names; where they are sharded, not the others' shares.
  StateTensors gradients() const;

 private:
  // This rank's memory of it.
  Accum<T>* memory_of(const Kept<T>& kept) const;
  Vec<Accum<T>> elements(const Kept<T>& kept, Range range) const;  // of this rank's
  bool in_place(const Kept<T>& kept) const;                        // the host may read all of it where it is
  std::vector<ConstNamedTensor> named(const Kept<T>& kept, const Accum<T>* all) const;
  void copy_all(const Kept<T>& kept, float* all) const;  // = every value; all: the first rank's
  void gather(const Kept<T>& kept, float* all) const;
  void put(const Kept<T>& kept, int64_t first, const Accum<T>* values, int64_t count);

  const StatePlan<T>& plan_;
  Backend<T> backend_;
  const Communicator& comm_;
  std::vector<TensorPart<T>> parts_;
  std::map<std::string, std::pair<const Kept<T>*, const ParamSpec*>> by_name_;
  std::vector<float> snapshot_;  // where the arena has no room for one
};

}  // namespace saslm
