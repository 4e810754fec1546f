// Who owns which weights: how the flat region of all of them is parted among the ranks.
//
// The region is cut into buckets, and every bucket as recursive halving cuts it (gradient_sum.h): in two at
// each level, one half for each of two partners, until every rank has one range of it. Cuts lie between
// blocks of kBlock elements, whose sums of squares make the norm: so a block has one owner, on any number of
// ranks. Ranges may be empty where a bucket has fewer blocks than there are ranks; the first rank has most.
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

// A range that a rank owns, and where it begins in memory that holds only what that rank owns.
struct Share {
  Range range;
  int64_t packed = 0;
  Share within(Range part) const;  // what both have; maybe nothing
  bool operator==(const Share&) const = default;
};

class Shares {
 public:
  static constexpr int64_t kBlock = BlockSquares<float>::kBlock;
  // Elements summed over the ranks at once: enough to be bound by the connection, not by its latency.
  static constexpr int64_t kBucket = int64_t(1) << 22;

  // elements > 0; ranks a power of two; bucket a multiple of kBlock.
  Shares(int64_t elements, int64_t ranks, int64_t bucket = kBucket);

  int64_t ranks() const { return ranks_; }
  int64_t elements() const { return elements_; }
  int64_t buckets() const { return ceil_div(elements_, bucket_); }
  Range bucket(int64_t index) const;

  // One level of halving: of what was kept before, this rank keeps one part and its partner the other.
  struct Level {
    int partner = 0;
    Range kept, given;
  };
  std::vector<Level> levels(int64_t bucket, int64_t rank) const;
  Range kept(int64_t bucket, int64_t rank, size_t levels) const;                 // after so many
  size_t depth() const { return size_t(std::bit_width(uint64_t(ranks_)) - 1); }  // how many there are
  Range owned(int64_t bucket, int64_t rank) const { return kept(bucket, rank, depth()); }

  std::vector<Share> of(int64_t rank) const;  // ascending, neighbours joined, none empty
  int64_t most() const;                       // elements of the rank that owns most

 private:
  int64_t elements_, ranks_, bucket_;
};

}  // namespace saslm
