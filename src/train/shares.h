// Which rank owns which weights: the partition of the flat region of all weights among the ranks.
//
// The region is cut into buckets, and each bucket as recursive halving cuts it (gradient_sum.h): in two at
// each level, one half for each of two partners, until every rank has one range of the bucket. Cuts are
// between blocks of kBlock elements, whose sums of squares make up the gradient norm, so each block has one
// owner on any number of ranks. Ranges may be empty.
//
// An optimizer may need some tensors whole (train/optimizer.h). Block counting then restarts at the beginning
// and at the end of each such tensor, on any number of ranks. If the optimizer's state is sharded
// (keep_whole), such a tensor has one owner. Halves are then as equal as the tensors allow, and ranks take
// turns at the larger ones, so that they own about the same amount over all buckets.
#pragma once
#include <bit>
#include <vector>

#include "ops/ops.h"

namespace saslm {

struct Range {
  int64_t first = 0, size = 0;  // elements
  int64_t end() const { return first + size; }
  bool operator==(const Range&) const = default;
};

// A range of the weights, and where it begins in memory that holds only some of them.
struct Share {
  Range range;
  int64_t packed = 0;
  Share within(Range part) const;  // the intersection, possibly empty
  bool operator==(const Share&) const = default;
};

// Shares packed in memory without gaps: ascending, adjacent ones joined, none empty.
using Holding = std::vector<Share>;

Holding packed(const std::vector<Range>& ascending);
Holding common(const Holding& a, const Holding& b);  // the intersection, packed on its own
int64_t size_of(const Holding& packing);
// Offset of the range in the packed memory; ShapeError unless it holds all of the range.
int64_t place_of(const Holding& packing, Range range);

class Shares {
 public:
  static constexpr int64_t kBlock = BlockSquares<float>::kBlock;
  // Elements in one all-reduce: enough to be bound by bandwidth rather than latency.
  static constexpr int64_t kBucket = int64_t(1) << 22;

  // elements > 0; ranks: a power of two; bucket: a multiple of kBlock; whole: ascending, disjoint.
  Shares(int64_t elements, int64_t ranks, int64_t bucket = kBucket, const std::vector<Range>& whole = {},
         bool keep_whole = false);

  int64_t ranks() const { return ranks_; }
  int64_t elements() const { return elements_; }
  int64_t buckets() const { return int64_t(buckets_.size()); }
  Range bucket(int64_t index) const { return buckets_[size_t(index)].range; }

  // One level of halving: this rank keeps one part of what it kept before, its partner keeps the other.
  struct Level {
    int partner = 0;
    Range kept, given;
  };
  std::vector<Level> levels(int64_t bucket, int64_t rank) const;
  Range kept(int64_t bucket, int64_t rank, size_t levels) const;                 // after this many levels
  size_t depth() const { return size_t(std::bit_width(uint64_t(ranks_)) - 1); }  // number of levels
  Range owned(int64_t bucket, int64_t rank) const { return kept(bucket, rank, depth()); }
  int64_t most_kept(size_t levels) const;  // elements, the most of any rank and bucket

  Holding of(int64_t rank) const;
  int64_t most() const;  // elements of the rank that owns most

  // An owned range, split so that blocks are counted from the beginning of each part.
  std::vector<Range> runs(Range owned) const;
  int64_t first_block(int64_t run) const;  // index of the block that begins there
  int64_t blocks() const;                  // number of blocks of all elements
  int64_t most_blocks() const;             // number of blocks of the rank that owns most

 private:
  // Elements whose blocks are counted from its beginning.
  struct Stretch {
    Range range;
    bool whole = false;  // has one owner
    int64_t first_block = 0;
  };
  struct Bucket {
    Range range;
    int64_t turn = 0;  // exchanges the ranks: rank r takes the place of r ^ turn
  };

  const Stretch& stretch_at(int64_t element) const;
  void make_stretches(const std::vector<Range>& whole, bool keep_whole);
  std::vector<size_t> make_buckets(int64_t size);  // where each group that shares a turn begins, and the end
  void take_turns(const std::vector<size_t>& groups);
  Range half(Range range, bool upper) const;

  int64_t elements_, ranks_;
  std::vector<Stretch> stretches_;
  std::vector<Bucket> buckets_;
};

}  // namespace saslm
