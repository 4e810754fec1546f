// Gradient accumulation over micro-batches and all-reduce over ranks, bit-identical on any number of ranks.
//
// Floating-point sums depend on their order. Here the order is a binary tree over the step's micro-batches
// that depends on their number only: the sum of n is the sum of the first ceil(n/2) plus the sum of the rest.
// Each of W ranks, a power of two that divides n, computes a subtree, micro-batches r n/W .. (r+1) n/W - 1;
// the ranks then compute the tree's upper levels together: neighbours first, then pairs of pairs. So 1, 2, 4
// or 8 ranks give the same bits. Cost: a rank with n micro-batches per step holds up to 1 + log2 n gradients
// at once.
//
// The all-reduce works bucket by bucket, by recursive halving and doubling (Rabenseifner 2004): at every
// level two partners each add one half of what both hold, until every rank has the sum of its own part
// (shares.h); then the parts return the same way. A rank sends 2 (1 - 1/W) gradients. Up to three levels form
// one stage: eight ranks exchange eighths, and each adds its own as the three levels would, with the same
// bits, bytes and additions and a third of the waiting. If the optimizer's state is sharded (ZeRO-1,
// Rajbhandari et al. 2020), the new weights return instead of the gradients.
//
// The all-reduce overlaps the backward pass: a bucket starts, in its own stream, as soon as the last
// micro-batch's backward has its gradients. Stages of several buckets share one exchange (bucket_pipeline.h);
// this changes no bits, since the stages of one bucket keep their order.
#pragma once
#include <vector>

#include "comm/communicator.h"
#include "config/config.h"
#include "core/arena.h"
#include "ops/ops.h"
#include "train/bucket_pipeline.h"
#include "train/shares.h"

namespace saslm {

// The tree over n leaves, computed from left to right with the fewest sums alive.
class SumTree {
 public:
  explicit SumTree(int64_t leaves) : leaves_(leaves) {}

  // Where a leaf's value goes: the buffers before `buffer` hold the sums that are alive. Then, `merges`
  // times, the last buffer is added to the one before it. After the last leaf, buffer 0 holds the total.
  struct Leaf {
    int64_t buffer = 0, merges = 0;
  };
  Leaf leaf(int64_t index) const;
  int64_t leaves() const { return leaves_; }
  int64_t buffers() const;  // the most that are alive at once

 private:
  int64_t leaves_;
};

// How ranks share the work after backward. Ignored on a single rank.
struct Sharing {
  bool sharded = false;          // runtime.zero_stage 1: a rank holds optimizer state of its shares only
  RankSum sum = RankSum::fixed;  // library: summed in the library's own order
  int64_t near = 8;              // ranks on one machine, a power of two: no stage mixes them with others
  int64_t bucket = Shares::kBucket;
};
inline Sharing sharing_of(const RuntimeConfig& runtime) {
  return {.sharded = runtime.zero_stage == 1, .sum = runtime.gradient_sum};
}

// Levels of halving that make one stage.
struct LevelRange {
  size_t first = 0, end = 0;
  int64_t members() const { return int64_t(1) << (end - first); }  // ranks that exchange with each other
};
std::vector<LevelRange> stages_of(size_t depth, int64_t near);

// The method of the sums and the memory that they declare.
template <class T>
struct SumPlan {
  // Declares the gradients' buffers. micro_batches: per rank and step; whole: as in Shares.
  SumPlan(Layout<T>& layout, int64_t micro_batches, int64_t ranks, const Sharing& sharing = {},
          const std::vector<Range>& whole = {});

  bool sharded() const { return sharing.sharded && shares.ranks() > 1; }

  SumTree tree;
  Sharing sharing;
  Shares shares;
  std::vector<LevelRange> stages;  // of halving; doubling has them in reverse
  std::vector<int64_t> arrivals;   // by stage, the offset in `received` of the others' parts
  Slot<Vec<Accum<T>>> received;    // alive during backward
  Slot<Vec<double>> squares;       // by block of a rank's shares
};

// Backend and ranks of the sums. The model computes in `stream`; the all-reduce is queued on `beside`.
template <class T>
struct SumPlace {
  const Ops<T>& ops;
  const Arena<T>& arena;
  const Communicator& comm;
  Stream stream, beside;
};

// Computes the sums, and sends updated weights to all ranks when sharded. Keeps references to its arguments.
template <class T>
class GradientSum {
 public:
  GradientSum(const SumPlan<T>& plan, const SumPlace<T>& place)
      : plan_(plan), place_(place), pipeline_(plan.stages.size() * (plan.sharded() ? 1 : 2)) {}

  // Call before micro-batch `micro`. Returns the arena to whose gradients, now zero, it adds.
  Arena<T> begin(int64_t micro);
  // Call once micro-batch `micro`'s gradients in this range are final: ranges go from the end of the region
  // to its beginning. Adds what can be added; for the step's last micro-batch, also starts the all-reduce.
  void add(int64_t micro, Range range);
  // Call after the step's last add. Work queued on the stream afterwards finds the sum over all ranks in
  // arena.gradients(); when sharded, only in this rank's shares.
  void finish();

  // Queues the sums of squares of this rank's gradients, by block of its shares; the rest is zero.
  Vec<double> squares() const;
  // Adds all ranks' squares in the order of the blocks. Rank r's begin at all + r * stride.
  double add_up(const double* all, size_t stride) const;

  // When sharded, queues the transfer of every rank's new weights to all others, beside the stream. Weights
  // must not be read or written until await_weights.
  void spread_weights();
  // Waits for that transfer. Does nothing if there is none.
  void await_weights();

 private:
  void merge(Stream stream, int64_t micro, Range range);
  void over_ranks(int64_t bucket);
  void next_stage(int64_t bucket);
  template <class X>
  void give_back(const LevelRange& stage, int64_t bucket, X* all, std::vector<Exchange>& exchanges) const;

  const SumPlan<T>& plan_;
  SumPlace<T> place_;
  BucketPipeline pipeline_;  // through the stages of halving, then, unless sharded, of doubling
  bool spreading_ = false;   // whether weights are being sent
};

}  // namespace saslm
