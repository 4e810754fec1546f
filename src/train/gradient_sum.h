// The sum of a step's gradients over its micro-batches, on one rank or many, with the same bits.
//
// Floating-point sums depend on their order. Here the order is a binary tree over the step's micro-batches,
// a function of their number alone: n of them are the sum of the first ceil(n/2) plus the sum of the rest. W
// ranks, a power of two that divides their number, each compute a subtree, micro-batches r n/W .. (r+1) n/W -
// 1, and then the tree's upper levels together: neighbours first, then pairs of pairs. So 1, 2, 4 or 8 ranks
// give the same bits. Price: a rank with n micro-batches a step keeps up to 1 + log2 n gradients at once.
//
// Over ranks, by recursive halving and doubling (Rabenseifner 2004): at every level two partners each add up
// one half of what both hold; afterwards the parts come back the same way. A rank sends 2 (1 - 1/W)
// gradients.
#pragma once
#include <vector>

#include "comm/communicator.h"
#include "core/arena.h"
#include "ops/ops.h"

namespace saslm {

// The tree over n leaves, computed from left to right with as few sums alive as possible.
class SumTree {
 public:
  explicit SumTree(int64_t leaves) : leaves_(leaves) {}

  // Where a leaf's value goes: buffer 0, 1, ... are the sums alive before it. Then, `merges` times, the last
  // of them is added to the one before it. After the last leaf, buffer 0 has the total.
  struct Leaf {
    int64_t buffer = 0, merges = 0;
  };
  Leaf leaf(int64_t index) const;
  int64_t buffers() const;  // most that are alive at once

 private:
  int64_t leaves_;
};

template <class T>
class GradientSum {
 public:
  // Reserves the gradients' buffers. micro_batches is one rank's, of one step.
  GradientSum(Layout<T>& layout, int64_t micro_batches, int64_t ranks);

  // Micro-batch `index` is about to be computed: the arena whose gradients it adds to, zeroed.
  Arena<T> begin(const Ops<T>& ops, Stream stream, const Arena<T>& arena, int64_t index) const;
  // It was: sums are added up as far as they go.
  void end(const Ops<T>& ops, Stream stream, const Arena<T>& arena, int64_t index) const;
  // All of this rank's were: arena.gradients() = the sum over all ranks. float only.
  void over_ranks(const Ops<T>& ops, Stream stream, const Arena<T>& arena, const Communicator& comm) const;

 private:
  SumTree tree_;
  int64_t ranks_;
  Slot<Vec<Accum<T>>> received_;  // a partner's half of a bucket, scratch
};

}  // namespace saslm
