// Final norm, logits and loss. The logits of a whole micro-batch are never held at once: rows go through in
// chunks, and in training each chunk's gradient is taken while its logits are still there.
#pragma once
#include "model/norm.h"

namespace saslm {

template <class T>
class Head {
 public:
  // Rows that the head's products have beside the vocabulary's: those of a GPU are slow at sizes such as
  // 50,257, so there they are whole multiples of 64. Their weights are zeros (Param::pad), the loss ignores
  // their logits and makes zeros of their gradients, and the model, its files and counts know nothing of
  // them.
  static int64_t pad(int64_t vocab) {
    return std::is_same_v<T, bf16> ? round_up(vocab, int64_t(64)) - vocab : 0;
  }

  // `tied` is the embedding's handle, declared with this pad, or absent for a head weight of its own.
  Head(Layout<T>& layout, const ModelConfig& model, const RunShape& run, const Param& tied);

  int64_t macs() const { return weight_.rows * weight_.cols; }  // per token, forward

  // *total += the sum of the targets' losses in nats, of logits under the model's soft cap.
  void add_loss(const Exec<T>& e, double* total, Mat<const T> x, Vec<const int32_t> targets) const;
  // The same, with gradients of e.scale * (loss + z-loss): dx = ; the weights' gradients +=; the z-loss goes
  // to e.aux_loss, +=
  void add_loss_and_grads(const Exec<T>& e, double* total, Mat<T> dx, Mat<const T> x,
                          Vec<const int32_t> targets) const;
  // logits (1, V) = of the call's last row, without a soft cap
  void last_logits(const Exec<T>& e, Mat<T> logits, Mat<const T> x) const;

 private:
  // logits of `count` rows from `first` on, pad columns too, and their losses; scale and z_weight as in
  // kernels/cross_entropy.h.
  Mat<T> chunk(const Exec<T>& e, int64_t first, int64_t count, Vec<const int32_t> targets, double scale,
               double z_weight) const;

  double softcap_, z_loss_;
  Norm<T> norm_;
  Param weight_;              // (V, C), pad rows behind
  Slot<Mat<T>> h_;            // (N, C)
  Slot<Vec<Accum<T>>> loss_;  // (N)
  Slot<Mat<T>> dh_;           // (N, C), in backward_
  Slot<Mat<T>> logits_;       // (chunk rows, V + pad), in of_chunk_
  Extent backward_, of_chunk_;
};

}  // namespace saslm
