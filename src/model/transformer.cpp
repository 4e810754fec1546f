#include "model/transformer.h"

#include <algorithm>

namespace saslm {

template <class T>
Slot<Mat<T>> Block<T>::buffer(Layout<T>& layout, Region region, const std::string& name) const {
  return layout.mat(region, name, x_in_.shape.rows, x_in_.shape.cols);
}

template <class T>
Block<T>::Block(Layout<T>& layout, const ModelConfig& model, const RunShape& run, int64_t layer,
                const std::string& name, const RopeSlots<T>& rope, const Slot<Mat<T>>& x_in,
                const Slot<Mat<T>>& x_out)
    : x_in_(x_in),
      x_mid_(layout.training() ? buffer(layout, Region::activations, name + "x_mid") : x_in),
      x_out_(x_out),
      attn_h_(buffer(layout, Region::activations, name + "attn_norm.y")),
      mlp_h_(buffer(layout, Region::activations, name + "mlp_norm.y")),
      dh_(layout.training() ? buffer(layout, Region::scratch, name + "dh") : Slot<Mat<T>>{}),
      attn_norm_(layout, model, run, name + "attn_norm"),
      mlp_norm_(layout, model, run, name + "mlp_norm"),
      attention_(layout, model, run, layer, name + "attn.", rope),
      ffn_(layout, model, run, name + "mlp.") {}

template <class T>
void Block<T>::fwd(const Exec<T>& e) const {
  fwd_inside(e);
  ffn_.fwd_out(e, e.rows_of(x_out_), e.rows_of(x_mid_));
}

template <class T>
void Block<T>::fwd_inside(const Exec<T>& e) const {
  const Mat<T> x_in = e.rows_of(x_in_), x_mid = e.rows_of(x_mid_);
  attn_norm_.fwd(e, e.rows_of(attn_h_), x_in);
  attention_.fwd(e, x_mid, x_in, e.rows_of(attn_h_));
  mlp_norm_.fwd(e, e.rows_of(mlp_h_), x_mid);
  ffn_.fwd_hidden(e, e.rows_of(mlp_h_));
}

template <class T>
void Block<T>::bwd(const Exec<T>& e, Mat<T> dx) const {
  const Mat<T> dh = e.rows_of(dh_);
  ffn_.bwd(e, dh, dx, e.rows_of(mlp_h_));
  mlp_norm_.bwd(e, dx, dh, e.rows_of(x_mid_));
  attention_.bwd(e, dh, dx, e.rows_of(attn_h_));
  attn_norm_.bwd(e, dx, dh, e.rows_of(x_in_));
}

template <class T>
Transformer<T>::Transformer(Layout<T>& layout, const ModelConfig& model, const RunShape& run)
    : model_(model), run_(run) {
  const int64_t V = model.vocab_size, C = model.d_model, N = run.rows();
  const bool training = layout.training();
  embed_ = layout.param("embed.weight", {V, C}, "embedding", Init::normal(0.02));
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
    if (model.attention.moh) aux_loss_ = layout.template vec<Accum<T>>(Region::scratch, "aux_loss", N);
    by_token_ =
        layout.template vec<int32_t>(Region::scratch, "embed.rows_by_token", embedding_bwd_scratch(N));
  } else {
    next_logits_ = layout.mat(Region::activations, "next_logits", 1, V);
  }

  const auto layer = [](int64_t i) { return "layers." + std::to_string(i) + "."; };
  for (int64_t i = 0; i < model.n_layer; ++i)
    x_.push_back(training ? layout.mat(Region::activations, layer(i) + "x_out", N, C) : x_[0]);

  const bool shared = !training || run.recompute == Recompute::block;
  const int64_t scratch = layout.mark(Region::scratch), kept = layout.mark(Region::activations);
  blocks_.reserve(size_t(model.n_layer));
  for (int64_t i = 0; i < model.n_layer; ++i) {
    layout.rewind(Region::scratch, scratch);
    if (shared) layout.rewind(Region::activations, kept);
    begins_.push_back(layout.param_elements());
    blocks_.emplace_back(layout, model, run, i, layer(i), rope_, x_[size_t(i)], x_[size_t(i) + 1]);
  }
  layout.rewind(Region::scratch, scratch);
  if (!training) layout.rewind(Region::activations, kept);  // else the last block's are for backward
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
  const size_t bytes = size_t(batch.B * batch.T) * sizeof(int32_t);
  check(batch.B >= 1 && batch.T >= 1 && batch.B <= run_.batch && batch.start + batch.T <= run_.seq_len,
        "a batch fits the shape its buffers were planned for");
  check(batch.B == 1 || (batch.start == 0 && batch.T == run_.seq_len),
        "several sequences are whole ones; only a single one may be continued or short");
  check(batch.micro >= 0 && batch.micro < run_.micro_batches,
        "a step has the micro-batches it was planned for");
  ops.copy_in(stream, arena.at(tokens_).data, batch.inputs, bytes);
  if (batch.targets != nullptr) ops.copy_in(stream, arena.at(targets_).data, batch.targets, bytes);
  return {{backend}, batch.B, batch.T, batch.start};
}

template <class T>
Mat<T> Transformer<T>::fwd(const Exec<T>& e) const {
  e.ops.embedding_fwd(e.stream, {.x = e.rows_of(x_.front()),
                                 .tokens = {e.arena.at(tokens_).data, e.rows()},
                                 .embed = e.arena.weight(embed_),
                                 .pos = e.arena.weight(pos_embed_),
                                 .seq_len = e.T_,
                                 .start = e.start});
  for (const Block<T>& block : blocks_) block.fwd(e);
  return e.rows_of(x_.back());
}

template <class T>
void Transformer<T>::add_loss(const Backend<T>& backend, const TokenBatch& batch) const {
  const Exec<T> e = begin(backend, batch);
  const Mat<T> x = fwd(e);
  head_->add_loss(e, totals(e.arena).data + batch.micro * kTotals + kLoss, x,
                  {e.arena.at(targets_).data, e.rows()});
}

template <class T>
void Transformer<T>::add_loss_and_grads(const Backend<T>& backend, const TokenBatch& batch, double scale,
                                        const FinalGradients& final_gradients) const {
  Exec<T> e = begin(backend, batch);
  e.scale = scale;
  e.aux_loss = e.rows_of(aux_loss_);
  if (aux_loss_) e.ops.zero(e.stream, e.aux_loss.data, size_t(e.aux_loss.size) * sizeof(Accum<T>));
  const Mat<T> x = fwd(e), dx = e.rows_of(dx_);
  double* const sums = totals(e.arena).data + batch.micro * kTotals;
  head_->add_loss_and_grads(e, sums + kLoss, dx, x, {e.arena.at(targets_).data, e.rows()});
  const auto are_final = [&](int64_t first, int64_t end) {
    if (final_gradients) final_gradients(first, end);
  };
  const size_t L = blocks_.size();
  are_final(begins_[L], begins_[L + 1]);
  for (size_t i = L; i-- > 0;) {
    if (run_.recompute == Recompute::block && i + 1 < L) blocks_[i].fwd_inside(e);
    blocks_[i].bwd(e, dx);
    are_final(begins_[i], begins_[i + 1]);
  }
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
  const Mat<T> row = e.arena.at(next_logits_);
  head_->last_logits(e, row, fwd(e));
  std::vector<T> stored(size_t(row.cols));
  e.ops.copy_out(e.stream, stored.data(), row.data, stored.size() * sizeof(T));
  logits.resize(stored.size());
  std::transform(stored.begin(), stored.end(), logits.begin(), [](T z) { return Accum<T>(z); });
}

template <class T>
typename Transformer<T>::Macs Transformer<T>::macs(int64_t T_) const {
  Macs macs{.head = double(head_->macs())};
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const double attention = blocks_[i].attention().macs(T_);
    macs.attention += attention;
    macs.mlp += double(blocks_[i].ffn().macs());
    if (run_.recompute == Recompute::sim) macs.recomputed += blocks_[i].attention().simulation_macs();
    if (run_.recompute == Recompute::block && i + 1 < blocks_.size())
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
