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

// A range of values of 8, 4 or 2 bytes as what a communicator moves. Ranges begin and end between packs
// of 64.
template <class X>
Vec<float> as_floats(X* values, Range range) {
  return {reinterpret_cast<float*>(values + range.first), range.size * int64_t(sizeof(X)) / 4};
}

// Doubling: what every member of a stage has, to all of them.
template <class X>
void give_back(const Shares& shares, const LevelRange& stage, int64_t bucket, int64_t rank, X* values,
               std::vector<Exchange>& exchanges) {
  const Vec<float> mine = as_floats(values, shares.kept(bucket, rank, stage.end));
  for (int64_t member = 1; member < stage.members(); ++member) {
    const int64_t partner = rank ^ (member << stage.first);
    exchanges.push_back({int(partner), mine, as_floats(values, shares.kept(bucket, partner, stage.end))});
  }
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
GradientSum<T>::GradientSum(Layout<T>& layout, int64_t micro_batches, int64_t ranks, const Sharing& sharing)
    : tree_(micro_batches),
      shares_(layout.param_elements(), ranks, sharing.bucket),
      sharing_(sharing),
      stages_(stages_of(shares_.depth(), sharing.near)),
      pipeline_(stages_.size() * (sharded() ? 1 : 2)) {
  if (!layout.training()) return;
  layout.set_gradient_buffers(tree_.buffers());
  if (sharded()) layout.pack_optimizer_state(shares_.most());
  squares_ = layout.template vec<double>(Region::tables, "gradients.squares",
                                         ceil_div(shares_.most(), Shares::kBlock));
  if (ranks > 1 && sharing.sum == RankSum::fixed)
    received_ = layout.template vec<Accum<T>>(Region::tables, "gradients.received",
                                              (ranks - 1) * shares_.owned(0, 0).size);
}

template <class T>
std::vector<Share> GradientSum<T>::updated(int rank) const {
  return sharded() ? shares_.of(rank) : std::vector<Share>{{{0, shares_.elements()}, 0}};
}

template <class T>
Arena<T> GradientSum<T>::begin(const Place& place, int64_t index) const {
  Arena<T> leaf = place.arena.with_gradients(tree_.leaf(index).buffer);
  const Vec<Accum<T>> g = leaf.gradients();
  place.ops.zero(place.stream, g.data, size_t(g.size) * sizeof(Accum<T>));
  return leaf;
}

template <class T>
void GradientSum<T>::merge(const Place& place, Stream stream, int64_t index, Range range) const {
  auto [buffer, merges] = tree_.leaf(index);
  const auto sums = [&](int64_t i) {
    return Vec<Accum<T>>{place.arena.with_gradients(i).gradients().data + range.first, range.size};
  };
  for (; merges > 0; --merges, --buffer)
    place.ops.accumulate(stream, {.y = sums(buffer - 1), .x = sums(buffer)});
}

template <class T>
void GradientSum<T>::add(const Place& place, int64_t index, Range range) const {
  if (shares_.ranks() == 1 || index + 1 < tree_.leaves()) {
    if (range.first == 0) merge(place, place.stream, index, {0, shares_.elements()});
    return;
  }
  // A bucket is complete with the range that it begins in.
  for (int64_t b = shares_.buckets() - 1; b >= 0; --b) {
    const Range bucket = shares_.bucket(b);
    if (bucket.first < range.first || bucket.first >= range.end()) continue;
    place.ops.follow(place.beside, place.stream);
    merge(place, place.beside, index, bucket);
    over_ranks(place, b);
  }
}

template <class T>
void GradientSum<T>::over_ranks(const Place& place, int64_t bucket) const {
  const NamedRange range_name(place.ops, "all-reduce");
  check(place.comm.size() == shares_.ranks(), "gradients are summed over as many ranks as were planned for");
  if constexpr (!std::is_same_v<Accum<T>, float>)
    throw ShapeError("internal error: several ranks add up floats alone");
  else if (sharing_.sum == RankSum::library)
    place.comm.all_reduce(place.beside, as_floats(place.arena.gradients().data, shares_.bucket(bucket)),
                          kSum);
  else
    next_stage(place, bucket);
}

// Halving: every member's version of this rank's part arrives, and they are added up as the levels would:
// neighbours first, then pairs of pairs. Numbered by the bits in which they differ from this rank, which is
// 0, they make the same tree for every one of them.
template <class T>
void GradientSum<T>::next_stage(const Place& place, int64_t bucket) const {
  if constexpr (std::is_same_v<Accum<T>, float>) {
    pipeline_.advance(bucket);
    std::vector<Exchange> exchanges;
    std::vector<Accumulate<float>> sums;
    float* const g = place.arena.gradients().data;
    for (size_t at = 0; at < pipeline_.at().size(); ++at) {
      const int64_t b = pipeline_.at()[at], rank = place.comm.rank();
      if (b == BucketPipeline::kNone) continue;
      if (at >= stages_.size()) {
        give_back(shares_, stages_[2 * stages_.size() - 1 - at], b, rank, g, exchanges);
        continue;
      }
      const LevelRange& stage = stages_[at];
      const Range mine = shares_.kept(b, rank, stage.end);
      float* const received =
          place.arena.at(received_).data + stage.before(shares_.depth()) * shares_.owned(0, 0).size;
      const auto version = [&](int64_t member) {
        return Vec<float>{member == 0 ? g + mine.first : received + (member - 1) * mine.size, mine.size};
      };
      for (int64_t member = 1; member < stage.members(); ++member) {
        const int64_t partner = rank ^ (member << stage.first);
        exchanges.push_back(
            {int(partner), as_floats(g, shares_.kept(b, partner, stage.end)), version(member)});
      }
      for (int64_t bit = 1; bit < stage.members(); bit *= 2)
        for (int64_t member = 0; member < stage.members() && mine.size > 0; member += 2 * bit)
          sums.push_back({.y = version(member), .x = version(member + bit)});
    }
    place.comm.exchange(place.beside, exchanges, kSum);
    for (const Accumulate<float>& sum : sums) place.ops.accumulate(place.beside, sum);
  }
}

template <class T>
void GradientSum<T>::finish(const Place& place) const {
  if (shares_.ranks() > 1 && sharing_.sum == RankSum::fixed)
    while (!pipeline_.through()) over_ranks(place, BucketPipeline::kNone);
  pipeline_.advance(BucketPipeline::kNone);
  place.ops.follow(place.stream, place.beside);
}

template <class T>
Vec<double> GradientSum<T>::squares(const Place& place) const {
  const Vec<double> all = place.arena.at(squares_);
  const Accum<T>* const g = place.arena.gradients().data;
  for (const auto& [range, packed] : shares_.of(place.comm.rank()))
    place.ops.block_squares(
        place.stream, {.out = {all.data + packed / Shares::kBlock, ceil_div(range.size, Shares::kBlock)},
                       .x = {g + range.first, range.size}});
  return all;
}

template <class T>
double GradientSum<T>::add_up(const double* all, size_t stride) const {
  std::vector<double> blocks(size_t(ceil_div(shares_.elements(), Shares::kBlock)));
  for (int64_t rank = 0; rank < shares_.ranks(); ++rank)
    for (const auto& [range, packed] : shares_.of(rank))
      std::copy_n(all + size_t(rank) * stride + packed / Shares::kBlock, ceil_div(range.size, Shares::kBlock),
                  blocks.begin() + range.first / Shares::kBlock);
  return std::accumulate(blocks.begin(), blocks.end(), 0.0);
}

// Doubling: every rank's own part of a bucket comes to all of them.
template <class T>
void GradientSum<T>::spread_weights(const Place& place) const {
  if (!sharded()) return;
  place.ops.follow(place.beside, place.stream);
  T* const weights = place.arena.template whole<T>(Region::parameters).data;
  BucketPipeline pipeline(stages_.size());
  for (int64_t next = 0; next < shares_.buckets() || !pipeline.through(); ++next) {
    pipeline.advance(next < shares_.buckets() ? next : BucketPipeline::kNone);
    std::vector<Exchange> exchanges;
    for (size_t at = 0; at < stages_.size(); ++at)
      if (const int64_t b = pipeline.at()[at]; b != BucketPipeline::kNone)
        give_back(shares_, stages_[stages_.size() - 1 - at], b, place.comm.rank(), weights, exchanges);
    place.comm.exchange(place.beside, exchanges, kSpread);
  }
  spreading_ = true;
}

template <class T>
void GradientSum<T>::await_weights(const Place& place) const {
  if (!spreading_) return;
  place.comm.wait(place.beside, kSpread);  // nobody who waits for a queue later waits for another rank
  place.ops.follow(place.stream, place.beside);
  spreading_ = false;
}

template class GradientSum<float>;
template class GradientSum<double>;
template class GradientSum<bf16>;

}  // namespace saslm
