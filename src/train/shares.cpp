#include "train/shares.h"

#include <algorithm>

#include "core/error.h"

namespace saslm {

namespace {

Range half(Range whole, bool upper) {
  constexpr int64_t kBlock = Shares::kBlock;
  const int64_t low = std::min(whole.size, ceil_div(ceil_div(whole.size, kBlock), 2) * kBlock);
  return upper ? Range{whole.first + low, whole.size - low} : Range{whole.first, low};
}

}  // namespace

Share Share::within(Range part) const {
  const int64_t first = std::max(range.first, part.first);
  return {{first, std::max<int64_t>(std::min(range.end(), part.end()) - first, 0)},
          packed + first - range.first};
}

Shares::Shares(int64_t elements, int64_t ranks, int64_t bucket)
    : elements_(elements), ranks_(ranks), bucket_(bucket) {
  check(bucket % kBlock == 0 && (ranks & (ranks - 1)) == 0, "a power of two of ranks shares whole blocks");
}

Range Shares::bucket(int64_t index) const {
  return {index * bucket_, std::min(bucket_, elements_ - index * bucket_)};
}

std::vector<Shares::Level> Shares::levels(int64_t index, int64_t rank) const {
  std::vector<Level> levels;
  Range kept = bucket(index);
  for (int64_t distance = 1; distance < ranks_; distance *= 2) {
    const Range before = kept;
    const bool is_upper = rank & distance;
    kept = half(before, is_upper);
    levels.push_back({int(rank ^ distance), kept, half(before, !is_upper)});
  }
  return levels;
}

Range Shares::kept(int64_t index, int64_t rank, size_t levels) const {
  Range kept = bucket(index);
  for (size_t level = 0; level < levels; ++level) kept = half(kept, rank >> level & 1);
  return kept;
}

std::vector<Share> Shares::of(int64_t rank) const {
  std::vector<Share> shares;
  int64_t packed = 0;
  for (int64_t b = 0; b < buckets(); ++b) {
    const Range range = owned(b, rank);
    if (range.size == 0) continue;
    if (!shares.empty() && shares.back().range.end() == range.first)
      shares.back().range.size += range.size;
    else
      shares.push_back({range, packed});
    packed += range.size;
  }
  return shares;
}

int64_t Shares::most() const {
  const Share last = of(0).back();
  return last.packed + last.range.size;
}

}  // namespace saslm
