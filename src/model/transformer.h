// The decoder-only Transformer: embed, blocks, head. Forward runs down the list, backward up
// (docs/architecture.md follows a batch and a gradient through it).
//
//   x = embed[token] (+ pos_embed[t])
//   for each layer:  x += attention(norm(x));  x += mlp(norm(x))
//   logits = norm(x) . (embed or head)^T
//
// Building one declares weights and buffers in the Layout; calls take the Arena made from it.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/token_batch.h"
#include "model/attention.h"
#include "model/ffn.h"
#include "model/head.h"
#include "model/norm.h"

namespace saslm {

template <class T>
class Block {
 public:
  Block(Layout<T>& layout, const ModelConfig& model, const RunShape& run, int64_t layer,
        const std::string& name, const RopeSlots<T>& rope, const Slot<Mat<T>>& x_in,
        const Slot<Mat<T>>& x_out);

  const Attention<T>& attention() const { return *attention_; }
  const Ffn<T>& ffn() const { return ffn_; }

  void fwd(const Exec<T>& e) const;
  // What bwd reads, = from x_in: fwd without its last product, which makes x_out.
  void fwd_inside(const Exec<T>& e) const;
  void bwd(const Exec<T>& e, Mat<T> dx) const;  // dx: gradient of x_out on entry, of x_in on return

 private:
  Slot<Mat<T>> x_in_, x_mid_, x_out_;  // (N, C); all one buffer when nothing is kept for backward
  Slot<Mat<T>> attn_h_, mlp_h_;        // the norms' outputs
  Slot<Mat<T>> dh_;                    // gradient of either, in backward_
  Extent backward_;                    // scratch
  Norm<T> attn_norm_, mlp_norm_;
  std::optional<Attention<T>> attention_;  // always there
  Ffn<T> ffn_;
};

// A batch as part of a training step.
struct MicroBatch {
  TokenBatch tokens;
  int64_t index = 0;  // among the step's, on this rank: which totals its losses are added to
  double scale = 1;   // of its gradients
};

template <class T>
class Transformer {
 public:
  Transformer(Layout<T>& layout, const ModelConfig& model, const RunShape& run);

  // Fills the constant tables. Once, before anything else.
  void prepare(const Backend<T>& backend) const;

  // The first micro-batch's total kLoss += the sum of the losses of all targets, in nats.
  void add_loss(const Backend<T>& backend, const TokenBatch& batch) const;
  // The same for any micro-batch (Mode::train only); its total kAuxLoss += the sum of the terms that modules
  // add to the losses; every weight's gradient += that of scale * (loss + auxiliary loss). Calls back with
  // each range [first, end) of gradient elements once the last call of this backward that changes it is
  // queued: from the end of the region to its beginning, each element once.
  using FinalGradients = std::function<void(int64_t first, int64_t end)>;
  void add_loss_and_grads(const Backend<T>& backend, const MicroBatch& micro,
                          const FinalGradients& final_gradients = {}) const;
  // Logits (vocab_size) after the batch's last token; with start > 0 the cache holds what came before.
  void next_logits(const Backend<T>& backend, const TokenBatch& batch, std::vector<Accum<T>>& logits) const;

  // Sums in the backend's memory, so that no call has to wait for its own: kTotals of every micro-batch.
  enum Total { kLoss, kAuxLoss, kTotals };
  Vec<double> totals(const Arena<T>& arena) const { return arena.at(totals_); }
  bool has_aux_loss() const { return bool(aux_loss_); }

  // Multiply-adds per token, forward, by part, for sequences of T (the pairs that masks leave counted).
  struct Macs {
    double attention = 0, mlp = 0, head = 0;
    double recomputed = 0;  // beside these: what backward makes again
    double total() const { return attention + mlp + head; }
  };
  Macs macs(int64_t T_) const;

 private:
  Exec<T> begin(const Backend<T>& backend, const TokenBatch& batch) const;
  Mat<T> fwd(const Exec<T>& e) const;  // the last block's output

  ModelConfig model_;
  RunShape run_;
  Param embed_, pos_embed_;
  // Where the weights of each block begin, then the head's, then where all end; before them the embeddings'.
  // Backward goes through them from the end: a head that is tied adds to the embeddings' first.
  std::vector<int64_t> begins_;
  RopeSlots<T> rope_;
  Slot<Vec<int32_t>> tokens_, targets_, by_token_;
  Slot<Vec<double>> totals_;
  std::vector<Slot<Mat<T>>> x_;  // (N, C): what enters each block and what leaves the last
  Slot<Mat<T>> dx_, next_logits_;
  Slot<Vec<Accum<T>>> aux_loss_;  // (N), absent when no module has such a term
  std::vector<Block<T>> blocks_;
  std::optional<Head<T>> head_;  // always there; built after the blocks
  Extent activations_, scratch_, embed_bwd_;
  std::vector<Extent> passing_;  // of each block: activations that are dead after its forward
};

}  // namespace saslm
