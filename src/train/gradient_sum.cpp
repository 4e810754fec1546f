#include "train/gradient_sum.h"

#include <algorithm>

namespace saslm {
namespace {

// Elements summed over the ranks at once: enough to be bound by the connection, not by its latency.
constexpr int64_t kBucket = int64_t(1) << 22;

// A part of a bucket, and what lies on the other side when it is cut in two.
struct Range {
  int64_t first = 0, size = 0;
  Range half(bool upper) const {
    const int64_t low = ceil_div(size, 2);
    return upper ? Range{first + low, size - low} : Range{first, low};
  }
};

template <class T>
void sum_bucket(const Ops<T>& ops, Stream stream, Vec<float> g, Vec<float> received,
                const Communicator& comm) {
  const auto part = [&](Range r) { return Vec<float>{g.data + r.first, r.size}; };
  std::vector<Range> kept{{0, g.size}}, given;
  for (int distance = 1; distance < comm.size(); distance *= 2) {
    const bool upper = comm.rank() & distance;
    given.push_back(kept.back().half(!upper));
    kept.push_back(kept.back().half(upper));
    const Vec<float> mine = part(kept.back()), theirs{received.data, mine.size};
    comm.exchange(stream, comm.rank() ^ distance, part(given.back()), theirs, "sum of gradients");
    ops.accumulate(stream, {.y = mine, .x = theirs});
  }
  for (int distance = comm.size() / 2; distance > 0; distance /= 2) {
    comm.exchange(stream, comm.rank() ^ distance, part(kept.back()), part(given.back()),
                  "spread of gradients");
    kept.pop_back(), given.pop_back();
  }
}

}  // namespace

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

template <class T>
GradientSum<T>::GradientSum(Layout<T>& layout, int64_t micro_batches, int64_t ranks)
    : tree_(micro_batches), ranks_(ranks) {
  if (!layout.training()) return;
  layout.set_gradient_buffers(tree_.buffers());
  const int64_t half = ceil_div(std::min(kBucket, layout.param_elements()), 2);
  if (ranks > 1) {
    // Nothing else in scratch is alive between the last backward and the update.
    const int64_t top = layout.mark(Region::scratch);
    layout.rewind(Region::scratch, 0);
    received_ = layout.template vec<Accum<T>>(Region::scratch, "gradients.received", half);
    layout.rewind(Region::scratch, top);
  }
}

template <class T>
Arena<T> GradientSum<T>::begin(const Ops<T>& ops, Stream stream, const Arena<T>& arena, int64_t index) const {
  Arena<T> leaf = arena.with_gradients(tree_.leaf(index).buffer);
  const Vec<Accum<T>> g = leaf.gradients();
  ops.zero(stream, g.data, size_t(g.size) * sizeof(Accum<T>));
  return leaf;
}

template <class T>
void GradientSum<T>::end(const Ops<T>& ops, Stream stream, const Arena<T>& arena, int64_t index) const {
  auto [buffer, merges] = tree_.leaf(index);
  for (; merges > 0; --merges, --buffer)
    ops.accumulate(stream, {.y = arena.with_gradients(buffer - 1).gradients(),
                            .x = arena.with_gradients(buffer).gradients()});
}

template <class T>
void GradientSum<T>::over_ranks(const Ops<T>& ops, Stream stream, const Arena<T>& arena,
                                const Communicator& comm) const {
  check(comm.size() == ranks_, "gradients are summed over as many ranks as were planned for");
  if constexpr (std::is_same_v<Accum<T>, float>)
    if (ranks_ > 1) {
      const Vec<float> g = arena.gradients(), received = arena.at(received_);
      for (int64_t first = 0; first < g.size; first += kBucket)
        sum_bucket(ops, stream, {g.data + first, std::min(kBucket, g.size - first)}, received, comm);
    }
}

template class GradientSum<float>;
template class GradientSum<double>;
template class GradientSum<bf16>;

}  // namespace saslm
