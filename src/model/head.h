// Final norm, logits and loss. The logits of a whole micro-batch are never held at once: rows go through in
// chunks, and in training each chunk's gradient is taken while its logits are still there.
#pragma once
#include "model/norm.h"

namespace saslm {

template <class T>
class Head {
 public:
  // `tied` is the embedding's handle, or absent for a head weight of its own.
  Head(Layout<T>& layout, const ModelConfig& model, const RunShape& run, const Param& tied);

  int64_t macs() const { return weight_.rows * weight_.cols; }  // per token, forward

  // *total += the sum of the targets' losses in nats.
  void add_loss(const Exec<T>& e, double* total, Mat<const T> x, Vec<const int32_t> targets) const;
  // The same, with gradients of e.scale * loss: dx = ; the weights' gradients +=
  void add_loss_and_grads(const Exec<T>& e, double* total, Mat<T> dx, Mat<const T> x,
                          Vec<const int32_t> targets) const;
  // logits (1, V) = of the call's last row
  void last_logits(const Exec<T>& e, Mat<T> logits, Mat<const T> x) const;

 private:
  // logits of `count` rows from `first` on, and their losses; scale as in kernels/cross_entropy.h.
  Mat<T> chunk(const Exec<T>& e, int64_t first, int64_t count, Vec<const int32_t> targets,
               double scale) const;

  Norm<T> norm_;
  Param weight_;              // (V, C)
  Slot<Mat<T>> h_;            // (N, C)
  Slot<Vec<Accum<T>>> loss_;  // (N)
  Slot<Mat<T>> dh_;           // (N, C), in backward_
  Slot<Mat<T>> logits_;       // (chunk rows, V), in of_chunk_
  Extent backward_, of_chunk_;
};

}  // namespace saslm
