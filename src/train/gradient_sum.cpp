#include "train/gradient_sum.h"

#include <algorithm>
#include <numeric>

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

// A range of values of 4 or 2 bytes as what a communicator moves. Ranges begin and end between packs of 64.
template <class X>
Vec<float> as_floats(X* values, Range range) {
  return {reinterpret_cast<float*>(values + range.first), range.size * int64_t(sizeof(X)) / 4};
}

// Halving backwards: every rank's own part of a bucket to all of them.
template <class X>
void spread(const Communicator& comm, Stream stream, X* values, std::vector<Shares::Level> levels,
            const char* doing) {
  for (; !levels.empty(); levels.pop_back()) {
    const auto& [partner, kept, given] = levels.back();
    comm.exchange(stream, partner, as_floats(values, kept), as_floats(values, given), doing);
  }
}

}  // namespace

template <class T>
GradientSum<T>::GradientSum(Layout<T>& layout, int64_t micro_batches, int64_t ranks, const Sharing& sharing)
    : tree_(micro_batches), shares_(layout.param_elements(), ranks, sharing.bucket), sharing_(sharing) {
  if (!layout.training()) return;
  layout.set_gradient_buffers(tree_.buffers());
  if (sharded()) layout.pack_optimizer_state(shares_.most());
  squares_ = layout.template vec<double>(Region::tables, "gradients.squares",
                                         ceil_div(shares_.most(), Shares::kBlock));
  if (ranks > 1 && sharing.sum == RankSum::fixed)
    received_ = layout.template vec<Accum<T>>(Region::tables, "gradients.received",
                                              shares_.levels(0, 0).front().kept.size);
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
  constexpr const char* kSum = "sum of gradients";
  check(place.comm.size() == shares_.ranks(), "gradients are summed over as many ranks as were planned for");
  if constexpr (std::is_same_v<Accum<T>, float>) {
    float* const g = place.arena.gradients().data;
    if (sharing_.sum == RankSum::library)
      return place.comm.all_reduce(place.beside, as_floats(g, shares_.bucket(bucket)), kSum);
    const std::vector<Shares::Level> levels = shares_.levels(bucket, place.comm.rank());
    for (const auto& [partner, kept, given] : levels) {
      const Vec<float> theirs{place.arena.at(received_).data, kept.size};
      place.comm.exchange(place.beside, partner, as_floats(g, given), theirs, kSum);
      place.ops.accumulate(place.beside, {.y = as_floats(g, kept), .x = theirs});
    }
    if (!sharded()) spread(place.comm, place.beside, g, levels, "spread of gradients");
  } else {
    throw ShapeError("internal error: several ranks add up floats alone");
  }
}

template <class T>
void GradientSum<T>::finish(const Place& place) const {
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

template <class T>
void GradientSum<T>::spread_weights(const Place& place) const {
  constexpr const char* kSpread = "spread of weights";
  if (!sharded()) return;
  if constexpr (std::is_same_v<Accum<T>, float>)
    for (int64_t b = 0; b < shares_.buckets(); ++b)
      spread(place.comm, place.stream, place.arena.template whole<T>(Region::parameters).data,
             shares_.levels(b, place.comm.rank()), kSpread);
  place.comm.wait(place.stream, kSpread);  // nobody who waits for this queue later waits for another rank
}

template class GradientSum<float>;
template class GradientSum<double>;
template class GradientSum<bf16>;

}  // namespace saslm
