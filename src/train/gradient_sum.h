// The sum of a step's gradients over its micro-batches, on one rank or many, with the same bits.
//
// Floating-point sums depend on their order. Here the order is a binary tree over the step's micro-batches,
// a function of their number alone: n of them are the sum of the first ceil(n/2) plus the sum of the rest. W
// ranks, a power of two that divides their number, each compute a subtree, micro-batches r n/W .. (r+1) n/W -
// 1, and then the tree's upper levels together: neighbours first, then pairs of pairs. So 1, 2, 4 or 8 ranks
// give the same bits. Price: a rank with n micro-batches a step keeps up to 1 + log2 n gradients at once.
//
// Over ranks, bucket by bucket, by recursive halving and doubling (Rabenseifner 2004): at every level two
// partners each add up one half of what both hold, until every rank has the sum of its own part (shares.h);
// then the parts come back the same way. A rank sends 2 (1 - 1/W) gradients. Up to three levels are one
// stage: eight ranks give each other eighths, and each adds up its own as the three levels would, with the
// same bits, bytes and additions, and a third of the waiting. Where the optimizer's state is sharded (ZeRO-1,
// Rajbhandari et al. 2020), what comes back are the new weights instead. A bucket begins to be summed as soon
// as the last micro-batch's backward has its gradients, in a queue beside the model's; and the stages of
// several buckets share one exchange (bucket_pipeline.h), which changes no bit: a bucket's own stages keep
// their order.
#pragma once
#include <vector>

#include "comm/communicator.h"
#include "config/config.h"
#include "core/arena.h"
#include "ops/ops.h"
#include "train/bucket_pipeline.h"
#include "train/shares.h"

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
  int64_t leaves() const { return leaves_; }
  int64_t buffers() const;  // most that are alive at once

 private:
  int64_t leaves_;
};

// How ranks share the work after backward. Of no effect on a single one.
struct Sharing {
  bool sharded = false;          // runtime.zero_stage 1: moments and masters of its own shares alone
  RankSum sum = RankSum::fixed;  // library: in that library's own order
  int64_t near = 8;  // neighbours on one machine, a power of two: no stage has some of them and others, too
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

// What sums declare: how, and in which memory.
template <class T>
struct SumPlan {
  // Reserves the gradients' buffers. micro_batches is one rank's, of one step; whole: as Shares takes them.
  SumPlan(Layout<T>& layout, int64_t micro_batches, int64_t ranks, const Sharing& sharing = {},
          const std::vector<Range>& whole = {});

  bool sharded() const { return sharing.sharded && shares.ranks() > 1; }

  SumTree tree;
  Sharing sharing;
  Shares shares;
  std::vector<LevelRange> stages;  // of halving; of doubling, the other way round
  std::vector<int64_t> arrivals;   // of each stage, where in `received` the others' parts are put
  Slot<Vec<Accum<T>>> received;    // alive during backward
  Slot<Vec<double>> squares;       // by the blocks of a rank's shares
};

// Where sums are computed. The model computes in `stream`, sums over ranks are queued on `beside`.
template <class T>
struct SumPlace {
  const Ops<T>& ops;
  const Arena<T>& arena;
  const Communicator& comm;
  Stream stream, beside;
};

// Refers to what it is given.
template <class T>
class GradientSum {
 public:
  GradientSum(const SumPlan<T>& plan, const SumPlace<T>& place)
      : plan_(plan), place_(place), pipeline_(plan.stages.size() * (plan.sharded() ? 1 : 2)) {}

  // Micro-batch `micro` is about to be computed: the arena whose gradients it adds to, zeroed.
  Arena<T> begin(int64_t micro);
  // Its gradients in this range are final. Ranges come from the end of the region to its beginning. Sums are
  // added up as far as they go; of the step's last micro-batch over the ranks, too.
  void add(int64_t micro, Range range);
  // All of it was: what is queued on the stream from now on finds the sum over all ranks in
  // arena.gradients(); when sharded, in this rank's shares alone.
  void finish();

  // Squares of this rank's sums: queued, by the blocks of its shares; the rest is zero.
  Vec<double> squares() const;
  // The sum of all ranks' squares in the order of the blocks: rank r's are those from all + r * stride on.
  double add_up(const double* all, size_t stride) const;

  // Every rank's new weights to all others, when they were updated in shares: queued beside. Until
  // await_weights nobody reads or writes weights.
  void spread_weights();
  // Waits until that has been done.
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
  bool spreading_ = false;   // weights, until they are awaited
};

}  // namespace saslm
