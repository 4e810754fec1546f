#include "train/gradient_sum.h"

#include <algorithm>
#include <numeric>

#include "ops/named_range.h"

namespace saslm {

SumTree::Leaf SumTree::leaf(int64_t index) const {
  Leaf leaf;
  for (int64_t n = leaves_; n > 1;) {
    const int64_t low = ceil_div(n, 2);
    const bool right = index >= low;
    leaf.buffer += right;
    leaf.merges = right ? leaf.merges + 1 : 0;
    if (right) index -= low;
    n = right ? n - low : low;
  }
  return leaf;
}

int64_t SumTree::buffers() const {
  int64_t most = 0;
  for (int64_t i = 0; i < leaves_; ++i) most = std::max(most, leaf(i).buffer);
  return most + 1;
}

namespace {

constexpr const char *kSum = "sum of gradients", *kSpread = "spread of weights";

// Of all weights, or of their gradients.
template <class X>
Vec<std::byte> part_of(X* all, Range range) {
  return bytes_of(Vec<X>{all + range.first, range.size});
}

}  // namespace

// Of three levels at most: the parts of more would be small, and their connections many.
std::vector<LevelRange> stages_of(size_t depth, int64_t near) {
  constexpr size_t kWidest = 3;
  const size_t here = std::min(depth, size_t(std::bit_width(uint64_t(near)) - 1));
  std::vector<LevelRange> stages;
  for (size_t first = 0, end = 0; first < depth; first = end) {
    end = std::min(first + kWidest, first < here ? here : depth);
    stages.push_back({first, end});
  }
  return stages;
}

template <class T>
SumPlan<T>::SumPlan(Layout<T>& layout, int64_t micro_batches, int64_t ranks, const Sharing& how,
                    const std::vector<Range>& whole)
    : tree(micro_batches),
      sharing(how),
      shares(layout.param_elements(), ranks, how.bucket, whole, how.sharded && ranks > 1),
      stages(stages_of(shares.depth(), how.near)) {
  if (!layout.training()) return;
  layout.set_gradient_buffers(tree.buffers());
  squares = layout.template vec<double>(Region::tables, "gradients.squares", shares.most_blocks());
  int64_t arriving = 0;
  for (const LevelRange& stage : stages) {
    arrivals.push_back(arriving);
    arriving += (stage.members() - 1) * shares.most_kept(stage.end);
  }
  if (ranks > 1 && sharing.sum == RankSum::fixed)
    received = layout.template vec<Accum<T>>(Region::tables, "gradients.received", arriving);
}

template <class T>
Arena<T> GradientSum<T>::begin(int64_t micro) {
  Arena<T> leaf = place_.arena.with_gradients(plan_.tree.leaf(micro).buffer);
  const Vec<Accum<T>> g = leaf.gradients();
  place_.ops.zero(place_.stream, g.data, size_t(g.size) * sizeof(Accum<T>));
  return leaf;
}

template <class T>
void GradientSum<T>::merge(Stream stream, int64_t micro, Range range) {
  auto [buffer, merges] = plan_.tree.leaf(micro);
  const auto sums = [&](int64_t i) {
    return Vec<Accum<T>>{place_.arena.with_gradients(i).gradients().data + range.first, range.size};
  };
  for (; merges > 0; --merges, --buffer)
    place_.ops.accumulate(stream, {.y = sums(buffer - 1), .x = sums(buffer)});
}

template <class T>
void GradientSum<T>::add(int64_t micro, Range range) {
  const Shares& shares = plan_.shares;
  if (shares.ranks() == 1 || micro + 1 < plan_.tree.leaves()) {
    if (range.first == 0) merge(place_.stream, micro, {0, shares.elements()});
    return;
  }
  // A bucket is complete with the range that it begins in.
  for (int64_t b = shares.buckets() - 1; b >= 0; --b) {
    const Range bucket = shares.bucket(b);
    if (bucket.first < range.first || bucket.first >= range.end()) continue;
    place_.ops.follow(place_.beside, place_.stream);
    merge(place_.beside, micro, bucket);
    over_ranks(b);
  }
}

template <class T>
void GradientSum<T>::over_ranks(int64_t bucket) {
  const NamedRange range_name(place_.ops, "all-reduce");
  check(place_.comm.size() == plan_.shares.ranks(),
        "gradients are summed over as many ranks as were planned for");
  if constexpr (!std::is_same_v<Accum<T>, float>) {
    throw ShapeError("internal error: several ranks add up floats alone");
  } else if (plan_.sharing.sum == RankSum::library) {
    const Range range = plan_.shares.bucket(bucket);
    place_.comm.all_reduce(place_.beside, {place_.arena.gradients().data + range.first, range.size}, kSum);
  } else {
    next_stage(bucket);
  }
}

// Doubling: what every member of a stage has, to all of them.
template <class T>
template <class X>
void GradientSum<T>::give_back(const LevelRange& stage, int64_t bucket, X* all,
                               std::vector<Exchange>& exchanges) const {
  const int64_t rank = place_.comm.rank();
  const Vec<std::byte> mine = part_of(all, plan_.shares.kept(bucket, rank, stage.end));
  for (int64_t member = 1; member < stage.members(); ++member) {
    const int64_t partner = rank ^ (member << stage.first);
    exchanges.push_back({int(partner), mine, part_of(all, plan_.shares.kept(bucket, partner, stage.end))});
  }
}

// Halving: every member's version of this rank's part arrives, and they are added up as the levels would:
// neighbours first, then pairs of pairs. Numbered by the bits in which they differ from this rank, which is
// 0, they make the same tree for every one of them.
template <class T>
void GradientSum<T>::next_stage(int64_t bucket) {
  if constexpr (std::is_same_v<Accum<T>, float>) {
    pipeline_.advance(bucket);
    const std::vector<LevelRange>& stages = plan_.stages;
    std::vector<Exchange> exchanges;
    std::vector<Accumulate<float>> sums;
    float* const g = place_.arena.gradients().data;
    for (size_t at = 0; at < pipeline_.at().size(); ++at) {
      const int64_t b = pipeline_.at()[at], rank = place_.comm.rank();
      if (b == BucketPipeline::kNone) continue;
      if (at >= stages.size()) {
        give_back(stages[2 * stages.size() - 1 - at], b, g, exchanges);
        continue;
      }
      const LevelRange& stage = stages[at];
      const Range mine = plan_.shares.kept(b, rank, stage.end);
      float* const received = place_.arena.at(plan_.received).data + plan_.arrivals[at];
      const auto version = [&](int64_t member) {
        return Vec<float>{member == 0 ? g + mine.first : received + (member - 1) * mine.size, mine.size};
      };
      for (int64_t member = 1; member < stage.members(); ++member) {
        const int64_t partner = rank ^ (member << stage.first);
        exchanges.push_back(
            {int(partner), part_of(g, plan_.shares.kept(b, partner, stage.end)), bytes_of(version(member))});
      }
      for (int64_t bit = 1; bit < stage.members(); bit *= 2)
        for (int64_t member = 0; member < stage.members() && mine.size > 0; member += 2 * bit)
          sums.push_back({.y = version(member), .x = version(member + bit)});
    }
    place_.comm.exchange(place_.beside, exchanges, kSum);
    for (const Accumulate<float>& sum : sums) place_.ops.accumulate(place_.beside, sum);
  }
}

template <class T>
void GradientSum<T>::finish() {
  if (plan_.shares.ranks() > 1 && plan_.sharing.sum == RankSum::fixed)
    while (!pipeline_.through()) over_ranks(BucketPipeline::kNone);
  pipeline_.advance(BucketPipeline::kNone);
  place_.ops.follow(place_.stream, place_.beside);
}

template <class T>
Vec<double> GradientSum<T>::squares() const {
  const Vec<double> all = place_.arena.at(plan_.squares);
  const Accum<T>* const g = place_.arena.gradients().data;
  int64_t done = 0;
  for (const Share& share : plan_.shares.of(place_.comm.rank()))
    for (const Range& run : plan_.shares.runs(share.range)) {
      const int64_t blocks = ceil_div(run.size, Shares::kBlock);
      place_.ops.block_squares(place_.stream,
                               {.out = {all.data + done, blocks}, .x = {g + run.first, run.size}});
      done += blocks;
    }
  return all;
}

template <class T>
double GradientSum<T>::add_up(const double* all, size_t stride) const {
  const Shares& shares = plan_.shares;
  std::vector<double> blocks(size_t(shares.blocks()));
  for (int64_t rank = 0; rank < shares.ranks(); ++rank) {
    const double* next = all + size_t(rank) * stride;
    for (const Share& share : shares.of(rank))
      for (const Range& run : shares.runs(share.range)) {
        const int64_t count = ceil_div(run.size, Shares::kBlock);
        std::copy_n(next, count, blocks.begin() + shares.first_block(run.first));
        next += count;
      }
  }
  return std::accumulate(blocks.begin(), blocks.end(), 0.0);
}

// Doubling: every rank's own part of a bucket comes to all of them.
template <class T>
void GradientSum<T>::spread_weights() {
  if (!plan_.sharded()) return;
  place_.ops.follow(place_.beside, place_.stream);
  T* const weights = place_.arena.template whole<T>(Region::parameters).data;
  const std::vector<LevelRange>& stages = plan_.stages;
  BucketPipeline pipeline(stages.size());
  for (int64_t next = 0; next < plan_.shares.buckets() || !pipeline.through(); ++next) {
    pipeline.advance(next < plan_.shares.buckets() ? next : BucketPipeline::kNone);
    std::vector<Exchange> exchanges;
    for (size_t at = 0; at < stages.size(); ++at)
      if (const int64_t b = pipeline.at()[at]; b != BucketPipeline::kNone)
        give_back(stages[stages.size() - 1 - at], b, weights, exchanges);
    place_.comm.exchange(place_.beside, exchanges, kSpread);
  }
  spreading_ = true;
}

template <class T>
void GradientSum<T>::await_weights() {
  if (!spreading_) return;
  place_.comm.wait(place_.beside, kSpread);  // nobody who waits for a queue later waits for another rank
  place_.ops.follow(place_.stream, place_.beside);
  spreading_ = false;
}

template struct SumPlan<float>;
template struct SumPlan<double>;
template struct SumPlan<bf16>;
template class GradientSum<float>;
template class GradientSum<double>;
template class GradientSum<bf16>;

}  // namespace saslm
