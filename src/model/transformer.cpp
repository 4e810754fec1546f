#include "model/transformer.h"

#include <algorithm>

#include "model/stages.h"
#include "ops/named_range.h"

namespace saslm {

template <class T>
Block<T>::Block(Layout<T>& layout, const ModelConfig& model, const RunShape& run, int64_t layer,
                const std::string& name, const RopeSlots<T>& rope, const Slot<Mat<T>>& x_in,
                const Slot<Mat<T>>& x_out)
    : x_in_(x_in), x_mid_(x_in), x_out_(x_out) {
  const auto buffer = [&](Region region, const char* part) {
    return layout.mat(region, name + part, x_in.shape.rows, x_in.shape.cols);
  };
  if (layout.training()) x_mid_ = buffer(Region::activations, "x_mid");
  attn_h_ = buffer(Region::activations, "attn_norm.y");
  mlp_h_ = buffer(Region::activations, "mlp_norm.y");
  const typename Layout<T>::Scope backward(layout, Region::scratch, &backward_);
  if (layout.training()) dh_ = buffer(Region::scratch, "dh");
  attn_norm_ = Norm<T>(layout, model, run, name + "attn_norm");
  mlp_norm_ = Norm<T>(layout, model, run, name + "mlp_norm");
  attention_.emplace(layout, model, run, layer, name + "attn.", rope);
  ffn_ = Ffn<T>(layout, model, run, name + "mlp.");
}

template <class T>
void Block<T>::fwd(const Exec<T>& e) const {
  fwd_inside(e);
  ffn_.fwd_out(e, e.rows_of(x_out_), e.rows_of(x_mid_));
}

template <class T>
void Block<T>::fwd_inside(const Exec<T>& e) const {
  const Mat<T> x_in = e.rows_of(x_in_), x_mid = e.rows_of(x_mid_);
  attn_norm_.fwd(e, e.rows_of(attn_h_), x_in);
  {
    const NamedRange range(e.ops, "attention");
    attention_->fwd(e, x_mid, x_in, e.rows_of(attn_h_));
  }
  mlp_norm_.fwd(e, e.rows_of(mlp_h_), x_mid);
  ffn_.fwd_hidden(e, e.rows_of(mlp_h_));
}

template <class T>
void Block<T>::bwd(const Exec<T>& e, Mat<T> dx) const {
  const auto alive = e.alive(backward_);
  const Mat<T> dh = e.rows_of(dh_);
  ffn_.bwd(e, dh, dx, e.rows_of(mlp_h_));
  mlp_norm_.bwd(e, dx, dh, e.rows_of(x_mid_));
  {
    const NamedRange range(e.ops, "attention backward");
    attention_->bwd(e, dh, dx, e.rows_of(attn_h_));
  }
  attn_norm_.bwd(e, dx, dh, e.rows_of(x_in_));
}

template <class T>
Transformer<T>::Transformer(Layout<T>& layout, const ModelConfig& model, const RunShape& run)
    : model_(model), run_(run) {
  using Scope = typename Layout<T>::Scope;
  const Scope activations(layout, Region::activations, &activations_);
  const Scope scratch(layout, Region::scratch, &scratch_);
  const int64_t V = model.vocab_size, C = model.d_model, N = run.rows();
  const bool training = layout.training();
  embed_ = layout.param("embed.weight", {V, C}, "embedding", Init::normal(0.02),
                        model.tie_embeddings ? Head<T>::pad(V) : 0);
  if (model.attention.position == PositionKind::learned)
    pos_embed_ = layout.param("pos_embed.weight", {model.max_seq_len, C}, "embedding", Init::normal(0.02));
  if (model.attention.position == PositionKind::rope) {
    const int64_t width = model.attention.rotated_width();
    rope_.cos = layout.mat(Region::tables, "rope.cos", run.seq_len, width / 2);
    rope_.sin = layout.mat(Region::tables, "rope.sin", run.seq_len, width / 2);
  }
  tokens_ = layout.template vec<int32_t>(Region::tables, "tokens", N);
  targets_ = layout.template vec<int32_t>(Region::tables, "targets", N);
  totals_ = layout.template vec<double>(Region::tables, "totals", run.micro_batches * kTotals);
  x_.push_back(layout.mat(Region::activations, "embed.x", N, C));
  if (training) {
    dx_ = layout.mat(Region::scratch, "dx", N, C);
    if (adds_loss(model.attention) || run.z_loss > 0)
      aux_loss_ = layout.template vec<Accum<T>>(Region::scratch, "aux_loss", N);
  } else {
    next_logits_ = layout.mat(Region::activations, "next_logits", 1, V);
  }

  const auto layer = [](int64_t i) { return "layers." + std::to_string(i) + "."; };
  for (int64_t i = 0; i < model.n_layer; ++i)
    x_.push_back(training ? layout.mat(Region::activations, layer(i) + "x_out", N, C) : x_[0]);

  if (training) {
    const Scope embed_bwd(layout, Region::scratch, &embed_bwd_);
    by_token_ =
        layout.template vec<int32_t>(Region::scratch, "embed.rows_by_token", embedding_bwd_scratch(N));
  }

  // Where a block's activations are not kept, the next block's take their place, and at last the head's. In
  // training the last block's are for backward, as the head's are.
  const bool shared = !training || run.recompute == Recompute::block;
  passing_.resize(size_t(model.n_layer));
  std::optional<Scope> passing;
  blocks_.reserve(size_t(model.n_layer));
  for (int64_t i = 0; i < model.n_layer; ++i) {
    const bool passes = !training || i + 1 < model.n_layer;
    if (shared) passing.emplace(layout, Region::activations, passes ? &passing_[size_t(i)] : nullptr);
    begins_.push_back(layout.param_elements());
    blocks_.emplace_back(layout, model, run, i, layer(i), rope_, x_[size_t(i)], x_[size_t(i) + 1]);
  }
  if (!training) passing.emplace(layout, Region::activations);
  begins_.push_back(layout.param_elements());
  head_.emplace(layout, model, run, model.tie_embeddings ? embed_ : Param{});
  begins_.push_back(layout.param_elements());
}

template <class T>
void Transformer<T>::prepare(const Backend<T>& backend) const {
  if (!rope_.cos) return;
  const Arena<T>& arena = backend.arena;
  backend.ops.rope_fill(backend.stream, {.table = {arena.at(rope_.cos), arena.at(rope_.sin)},
                                         .base = model_.attention.rope_base});
}

template <class T>
Exec<T> Transformer<T>::begin(const Backend<T>& backend, const TokenBatch& batch) const {
  const auto& [ops, arena, stream] = backend;
  const size_t bytes = size_t(batch.B() * batch.T()) * sizeof(int32_t);
  check(
      batch.B() >= 1 && batch.T() >= 1 && batch.B() <= run_.batch && batch.start + batch.T() <= run_.seq_len,
      "a batch fits the shape its buffers were planned for");
  check(batch.B() == 1 || (batch.start == 0 && batch.T() == run_.seq_len),
        "several sequences are whole ones; only a single one may be continued or short");
  const auto fits = [&](Mat<const int32_t> tokens) {
    return tokens.rows == batch.B() && tokens.cols == batch.T() && tokens.contiguous();
  };
  check(fits(batch.inputs) && (!batch.targets || fits(batch.targets)),
        "inputs and targets of a batch are contiguous and of one shape");
  ops.copy_in(stream, arena.at(tokens_).data, batch.inputs.data, bytes);
  if (batch.targets) ops.copy_in(stream, arena.at(targets_).data, batch.targets.data, bytes);
  return {{backend}, batch.B(), batch.T(), batch.start};
}

template <class T>
Mat<T> Transformer<T>::fwd(const Exec<T>& e) const {
  e.ops.embedding_fwd(e.stream, {.x = e.rows_of(x_.front()),
                                 .tokens = {e.arena.at(tokens_).data, e.rows()},
                                 .embed = e.arena.weight(embed_),
                                 .pos = e.arena.weight(pos_embed_),
                                 .seq_len = e.T_,
                                 .start = e.start});
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const auto alive = e.alive(passing_[i]);
    blocks_[i].fwd(e);
  }
  return e.rows_of(x_.back());
}

template <class T>
void Transformer<T>::add_loss(const Backend<T>& backend, const TokenBatch& batch) const {
  const Exec<T> e = begin(backend, batch);
  const auto activations = e.alive(activations_), scratch = e.alive(scratch_);
  const Mat<T> x = fwd(e);
  head_->add_loss(e, totals(e.arena).data + kLoss, x, {e.arena.at(targets_).data, e.rows()});
}

template <class T>
void Transformer<T>::add_loss_and_grads(const Backend<T>& backend, const MicroBatch& micro,
                                        const FinalGradients& final_gradients) const {
  check(micro.index >= 0 && micro.index < run_.micro_batches,
        "a step has the micro-batches it was planned for");
  Exec<T> e = begin(backend, micro.tokens);
  const auto activations = e.alive(activations_), scratch = e.alive(scratch_);
  e.scale = micro.scale;
  e.aux_loss = e.rows_of(aux_loss_);
  if (aux_loss_) e.ops.zero(e.stream, e.aux_loss.data, size_t(e.aux_loss.size) * sizeof(Accum<T>));
  const Mat<T> x = fwd(e), dx = e.rows_of(dx_);
  double* const sums = totals(e.arena).data + micro.index * kTotals;
  head_->add_loss_and_grads(e, sums + kLoss, dx, x, {e.arena.at(targets_).data, e.rows()});
  const auto are_final = [&](int64_t first, int64_t end) {
    if (final_gradients) final_gradients(first, end);
  };
  const size_t L = blocks_.size();
  are_final(begins_[L], begins_[L + 1]);
  for (size_t i = L; i-- > 0;) {
    const auto alive = e.alive(passing_[i]);
    if (run_.recompute == Recompute::block && i + 1 < L) blocks_[i].fwd_inside(e);
    blocks_[i].bwd(e, dx);
    are_final(begins_[i], begins_[i + 1]);
  }
  const auto embed_alive = e.alive(embed_bwd_);
  e.ops.embedding_bwd(e.stream, {.dembed = e.arena.weight_grad(embed_),
                                 .dpos = e.arena.weight_grad(pos_embed_),
                                 .dx = dx,
                                 .tokens = {e.arena.at(tokens_).data, e.rows()},
                                 .scratch = {e.arena.at(by_token_).data, embedding_bwd_scratch(e.rows())},
                                 .seq_len = e.T_});
  are_final(0, begins_[0]);
  if (aux_loss_) e.ops.add_sum(e.stream, sums + kAuxLoss, e.aux_loss);
}

template <class T>
void Transformer<T>::next_logits(const Backend<T>& backend, const TokenBatch& batch,
                                 std::vector<Accum<T>>& logits) const {
  const Exec<T> e = begin(backend, batch);
  const auto activations = e.alive(activations_), scratch = e.alive(scratch_);
  const Mat<T> row = e.arena.at(next_logits_);
  head_->last_logits(e, row, fwd(e));
  std::vector<T> stored(size_t(row.cols));
  e.ops.copy_out(e.stream, stored.data(), row.data, stored.size() * sizeof(T));
  logits.resize(stored.size());
  const double cap = model_.logit_softcap;
  std::transform(stored.begin(), stored.end(), logits.begin(), [cap](T z) {
    const Accum<T> logit(z);
    return cap == 0 ? logit : Accum<T>(cap * std::tanh(double(logit) / cap));
  });
}

template <class T>
typename Transformer<T>::Macs Transformer<T>::macs(int64_t T_) const {
  Macs macs{.head = double(head_->macs())};
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const double attention = blocks_[i].attention().macs(T_);
    macs.attention += attention;
    macs.mlp += double(blocks_[i].ffn().macs());
    if (run_.recompute != Recompute::block)
      macs.recomputed += blocks_[i].attention().remade_macs();
    else if (i + 1 < blocks_.size())
      macs.recomputed += attention + double(blocks_[i].ffn().hidden_macs());
  }
  return macs;
}

template class Block<float>;
template class Block<double>;
template class Block<bf16>;
template class Transformer<float>;
template class Transformer<double>;
template class Transformer<bf16>;

}  // namespace saslm
