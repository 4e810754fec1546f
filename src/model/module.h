// What every module shares. A module declares its weights and buffers when it is built, keeps the handles,
// and turns them into views through the Exec it is given. fwd and bwd are explicit pairs, written beside each
// other.
//
// Modes. Mode::train keeps what backward needs (or what it can make that from: RunShape::recompute) and
// treats whole sequences (start 0). Mode::infer shares activations between layers and may continue a
// sequence: keys and values of positions 0 .. start-1 are already in the cache, and the call computes T more.
// With start > 0 the batch is one sequence.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/arena.h"
#include "core/layout.h"
#include "ops/ops.h"

namespace saslm {

// The most a model will be asked for at once; buffers are declared for it.
struct RunShape {
  int64_t batch = 1;                      // B
  int64_t seq_len = 1;                    // T, and the capacity of the key/value cache
  Recompute recompute = Recompute::none;  // training only: what is not kept for backward
  int64_t micro_batches = 1;              // of a training step, each with totals of its own
  bool snapshot = false;  // training only, in the host's memory: room for weights and moments being saved
  double z_loss = 0;      // training only: weight of the head's auxiliary loss
  int64_t rows() const { return batch * seq_len; }
};
inline RunShape training_shape(const Config& config) {
  return {config.train.micro_batch, config.train.seq_len,         config.runtime.recompute,
          config.train.grad_accum,  config.checkpoint.background, config.train.z_loss};
}

// Angles of rotary embedding, one table for all layers; without slots there is no rotation.
template <class T>
struct RopeSlots {
  Slot<Mat<T>> cos, sin;  // (positions, width/2)
};

// Where a model computes: the backend's functions, its memory and its queue.
template <class T>
struct Backend {
  const Ops<T>& ops;
  const Arena<T>& arena;
  Stream stream;

  // Fills it with bytes of ones: NaN in every type of floats, -1 in integers.
  void poison(const Extent& extent) const {
    static const std::vector<std::byte> kOnes(size_t(1) << 20, std::byte{0xff});
    for (int64_t done = 0; done < extent.bytes; done += int64_t(kOnes.size()))
      ops.copy_in(stream, arena.begin_of(extent) + done, kOnes.data(),
                  std::min(kOnes.size(), size_t(extent.bytes - done)));
  }
};

// What a scope of buffers holds means something only while one of these lives: a call has one for every scope
// whose buffers it uses. Where the arena poisons, they are poisoned before and after.
template <class T>
class [[nodiscard]] Alive {
 public:
  Alive(const Backend<T>& where, const Extent& extent) : where_(where), extent_(extent) { poison(); }
  ~Alive() { poison(); }
  Alive(const Alive&) = delete;
  Alive& operator=(const Alive&) = delete;

 private:
  void poison() const {
    if (where_.arena.poisons()) where_.poison(extent_);
  }

  const Backend<T> where_;
  Extent extent_;
};

// One call.
template <class T>
struct Exec : Backend<T> {
  using Backend<T>::arena;
  int64_t B = 0, T_ = 0;  // this call's sequences and positions per sequence
  int64_t start = 0;      // position of the first of them

  // Backward takes the gradients of scale times the sum of the tokens' losses. To a token's cross-entropy
  // modules may add terms of their own; their backward puts them here, += (N).
  double scale = 0;
  Vec<Accum<T>> aux_loss;

  Alive<T> alive(const Extent& scope) const { return {*this, scope}; }

  int64_t rows() const { return B * T_; }
  Mat<T> rows_of(const Slot<Mat<T>>& s) const { return arena.at(s).row_range(0, rows()); }
  Vec<Accum<T>> rows_of(const Slot<Vec<Accum<T>>>& s) const { return {arena.at(s).data, s ? rows() : 0}; }

  // Head buffers are addressed by position: this call's rows, and all rows so far.
  Heads<T> heads_of(const Slot<Heads<T>>& s) const {
    return arena.at(s).first_batches(B).time_range(start, T_);
  }
  Heads<T> history_of(const Slot<Heads<T>>& s) const {
    return arena.at(s).first_batches(B).time_range(0, start + T_);
  }
  // This call's rows of a [B,T,H,D] buffer as the (rows, H*D) matrix that a linear layer writes.
  Mat<T> flat(const Slot<Heads<T>>& s) const {
    const Heads<T> h = arena.at(s);
    return mat(h.data, h.B * h.T, h.H * h.D).row_range(start, rows());
  }
  RopeTable<const T> rope(const RopeSlots<T>& s) const {
    return RopeTable<T>{arena.at(s.cos), arena.at(s.sin)};
  }
};

// Residual projections start smaller by 1/sqrt(2 L), so that the stream's variance does not grow with depth.
inline double residual_deviation(const ModelConfig& model) {
  return 0.02 / std::sqrt(2.0 * double(model.n_layer));
}

}  // namespace saslm
