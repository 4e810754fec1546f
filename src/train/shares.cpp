#include "train/shares.h"

#include <algorithm>

#include "core/error.h"

namespace saslm {

Share Share::within(Range part) const {
  const int64_t first = std::max(range.first, part.first);
  return {{first, std::max<int64_t>(std::min(range.end(), part.end()) - first, 0)},
          packed + first - range.first};
}

Holding packed(const std::vector<Range>& ascending) {
  Holding packing;
  for (const Range& range : ascending) {
    if (range.size == 0) continue;
    if (!packing.empty() && packing.back().range.end() == range.first)
      packing.back().range.size += range.size;
    else
      packing.push_back({range, size_of(packing)});
  }
  return packing;
}

Holding common(const Holding& a, const Holding& b) {
  std::vector<Range> both;
  for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();) {
    both.push_back(x->within(y->range).range);
    if (x->range.end() < y->range.end())
      ++x;
    else
      ++y;
  }
  return packed(both);
}

int64_t size_of(const Holding& packing) {
  return packing.empty() ? 0 : packing.back().packed + packing.back().range.size;
}

int64_t place_of(const Holding& packing, Range range) {
  auto next = std::upper_bound(packing.begin(), packing.end(), range.first,
                               [](int64_t first, const Share& share) { return first < share.range.first; });
  check(next != packing.begin() && range.end() <= std::prev(next)->range.end(),
        "memory is asked only for elements that it holds");
  return std::prev(next)->within(range).packed;
}

Shares::Shares(int64_t elements, int64_t ranks, int64_t bucket, const std::vector<Range>& whole,
               bool keep_whole)
    : elements_(elements), ranks_(ranks) {
  check(bucket % kBlock == 0 && (ranks & (ranks - 1)) == 0, "a power of two of ranks shares whole blocks");
  make_stretches(whole, keep_whole);
  const std::vector<size_t> groups = make_buckets(bucket);
  if (keep_whole && !whole.empty()) take_turns(groups);
}

void Shares::make_stretches(const std::vector<Range>& whole, bool keep_whole) {
  int64_t block = 0;
  const auto add = [&](Range range, bool one_owner) {
    check(range.size >= 0, "tensors that are kept whole lie apart, in ascending order");
    if (range.size == 0) return;
    stretches_.push_back({range, one_owner, block});
    block += ceil_div(range.size, kBlock);
  };
  int64_t end = 0;
  for (const Range& range : whole) {
    add({end, range.first - end}, false);
    add(range, keep_whole);
    end = range.end();
  }
  add({end, elements_ - end}, false);
}

const Shares::Stretch& Shares::stretch_at(int64_t element) const {
  const auto next = std::upper_bound(stretches_.begin(), stretches_.end(), element,
                                     [](int64_t at, const Stretch& s) { return at < s.range.first; });
  return *std::prev(next);
}

// As long as `size` allows, and cut between blocks. A tensor that is kept whole and is longer has buckets of
// its own, which one rank owns; a shorter one lies within a bucket.
std::vector<size_t> Shares::make_buckets(int64_t size) {
  std::vector<size_t> groups;
  int64_t first = 0;  // of the bucket that is being made
  const auto end_at = [&](int64_t end) {
    if (end > first) groups.push_back(buckets_.size()), buckets_.push_back({{first, end - first}});
    first = std::max(first, end);
  };
  for (const auto& [range, whole, unused] : stretches_) {
    if (!whole) {
      while (range.end() - first > size)
        end_at(range.first + std::max<int64_t>(first + size - range.first, 0) / kBlock * kBlock);
      continue;
    }
    if (range.end() - first > size) end_at(range.first);
    if (range.size <= size) continue;
    groups.push_back(buckets_.size());
    for (; first < range.end(); first += buckets_.back().range.size)
      buckets_.push_back({{first, std::min(size, range.end() - first)}});
  }
  end_at(elements_);
  groups.push_back(buckets_.size());
  return groups;
}

// The largest first, so that smaller ones can make up for it; each by the turn that leaves least to the rank
// that then owns most.
void Shares::take_turns(const std::vector<size_t>& groups) {
  std::vector<std::vector<int64_t>> owned;  // of each group, by place
  for (size_t g = 0; g + 1 < groups.size(); ++g) {
    owned.emplace_back(size_t(ranks_), 0);
    for (size_t b = groups[g]; b < groups[g + 1]; ++b)
      for (int64_t place = 0; place < ranks_; ++place)
        owned[g][size_t(place)] += this->owned(int64_t(b), place).size;
  }
  std::vector<size_t> order(owned.size());
  for (size_t g = 0; g < order.size(); ++g) order[g] = g;
  std::vector<int64_t> largest;
  for (const std::vector<int64_t>& sizes : owned)
    largest.push_back(*std::max_element(sizes.begin(), sizes.end()));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return largest[a] > largest[b]; });
  std::vector<int64_t> all(size_t(ranks_), 0);
  for (const size_t g : order) {
    int64_t turn = 0, least = -1;
    for (int64_t t = 0; t < ranks_; ++t) {
      int64_t most = 0;
      for (int64_t rank = 0; rank < ranks_; ++rank)
        most = std::max(most, all[size_t(rank)] + owned[g][size_t(rank ^ t)]);
      if (least < 0 || most < least) turn = t, least = most;
    }
    for (int64_t rank = 0; rank < ranks_; ++rank) all[size_t(rank)] += owned[g][size_t(rank ^ turn)];
    for (size_t b = groups[g]; b < groups[g + 1]; ++b) buckets_[b].turn = turn;
  }
}

// The cut is the first between two blocks, in or after the middle; next to a tensor that is kept whole, the
// nearest of its ends.
Range Shares::half(Range range, bool upper) const {
  const int64_t middle =
      std::min(range.end(), range.first + ceil_div(ceil_div(range.size, kBlock), 2) * kBlock);
  int64_t cut = middle;
  if (middle < range.end()) {
    const Stretch& s = stretch_at(middle);
    const int64_t from = std::max(s.range.first, range.first), to = std::min(s.range.end(), range.end());
    if (s.whole)
      cut = middle - from < to - middle ? from : to;
    else
      cut = std::min(to, s.range.first + round_up(middle - s.range.first, kBlock));
  }
  return upper ? Range{cut, range.end() - cut} : Range{range.first, cut - range.first};
}

std::vector<Shares::Level> Shares::levels(int64_t index, int64_t rank) const {
  std::vector<Level> levels;
  for (size_t level = 0; level < depth(); ++level) {
    const int64_t partner = rank ^ (int64_t(1) << level);
    levels.push_back({int(partner), kept(index, rank, level + 1), kept(index, partner, level + 1)});
  }
  return levels;
}

Range Shares::kept(int64_t index, int64_t rank, size_t levels) const {
  const Bucket& bucket = buckets_[size_t(index)];
  Range kept = bucket.range;
  for (size_t level = 0; level < levels; ++level) kept = half(kept, (rank ^ bucket.turn) >> level & 1);
  return kept;
}

int64_t Shares::most_kept(size_t levels) const {
  int64_t most = 0;
  for (int64_t b = 0; b < buckets(); ++b)
    for (int64_t place = 0; place < int64_t(1) << levels; ++place)
      most = std::max(most, kept(b, place, levels).size);
  return most;
}

Holding Shares::of(int64_t rank) const {
  std::vector<Range> ranges;
  for (int64_t b = 0; b < buckets(); ++b) ranges.push_back(owned(b, rank));
  return packed(ranges);
}

int64_t Shares::most() const {
  int64_t most = 0;
  for (int64_t rank = 0; rank < ranks_; ++rank) most = std::max(most, size_of(of(rank)));
  return most;
}

std::vector<Range> Shares::runs(Range owned) const {
  std::vector<Range> runs;
  for (int64_t first = owned.first; first < owned.end(); first = runs.back().end())
    runs.push_back({first, std::min(owned.end(), stretch_at(first).range.end()) - first});
  return runs;
}

int64_t Shares::first_block(int64_t run) const {
  const Stretch& s = stretch_at(run);
  return s.first_block + (run - s.range.first) / kBlock;
}

int64_t Shares::blocks() const {
  return stretches_.back().first_block + ceil_div(stretches_.back().range.size, kBlock);
}

int64_t Shares::most_blocks() const {
  int64_t most = 0;
  for (int64_t rank = 0; rank < ranks_; ++rank) {
    int64_t blocks = 0;
    for (const auto& [range, unused] : of(rank))
      for (const Range& run : runs(range)) blocks += ceil_div(run.size, kBlock);
    most = std::max(most, blocks);
  }
  return most;
}

}  // namespace saslm
