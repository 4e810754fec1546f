#include "model/head.h"

#include "ops/named_range.h"

namespace saslm {
namespace {

// Rows a chunk. Every chunk's product reads and writes the weight's whole gradient, 8 bytes for 2 * rows
// FLOPs. A CPU has enough with few rows, and 8M logits stay small beside a model. A GPU, the only one that
// computes in bf16, wants more than 200 FLOPs a byte: 2^30 logits (2 GiB, which lie where the blocks'
// gradients are scratch) are 21k rows of GPT-2's vocabulary, 5k FLOPs a byte. There the chunks are made
// equal, none a small rest.
template <class T>
int64_t chunk_rows(int64_t rows, int64_t vocab) {
  constexpr bool kGpu = std::is_same_v<T, bf16>;
  constexpr int64_t kLogits = int64_t(1) << (kGpu ? 30 : 23);
  const int64_t most = std::clamp<int64_t>(kLogits / vocab, std::min<int64_t>(64, rows), rows);
  return kGpu ? ceil_div(rows, ceil_div(rows, most)) : most;
}

}  // namespace

template <class T>
Head<T>::Head(Layout<T>& layout, const ModelConfig& model, const RunShape& run, const Param& tied)
    : softcap_(model.logit_softcap), z_loss_(run.z_loss), weight_(tied) {
  const int64_t V = model.vocab_size, C = model.d_model, N = run.rows();
  const typename Layout<T>::Scope backward(layout, Region::scratch, &backward_);
  if (layout.training()) dh_ = layout.mat(Region::scratch, "final_norm.dy", N, C);
  norm_ = Norm<T>(layout, model, run, "final_norm");
  if (weight_.offset < 0) weight_ = layout.param("head.weight", {V, C}, "head", Init::normal(0.02), pad(V));
  h_ = layout.mat(Region::activations, "final_norm.y", N, C);
  loss_ = layout.template vec<Accum<T>>(Region::activations, "head.loss", N);
  const typename Layout<T>::Scope of_chunk(layout, Region::scratch, &of_chunk_);
  logits_ = layout.mat_of_aligned_rows(Region::scratch, "head.logits", chunk_rows<T>(N, V), V + weight_.pad);
}

template <class T>
Mat<T> Head<T>::chunk(const Exec<T>& e, int64_t first, int64_t count, Vec<const int32_t> targets,
                      double scale, double z_weight) const {
  const Vec<Accum<T>> aux = z_weight != 0 ? Vec<Accum<T>>{e.aux_loss.data + first, count} : Vec<Accum<T>>{};
  const Mat<T> logits = e.arena.at(logits_).row_range(0, count);
  e.ops.matmul_fwd(
      e.stream,
      {.y = logits, .x = e.arena.at(h_).row_range(first, count), .w = e.arena.padded_weight(weight_)});
  e.ops.cross_entropy(e.stream, {.loss = {e.arena.at(loss_).data + first, count},
                                 .logits = logits,
                                 .targets = {targets.data + first, count},
                                 .scale = scale,
                                 .pad = weight_.pad,
                                 .softcap = softcap_,
                                 .z_weight = z_weight,
                                 .aux_loss = aux});
  return logits;
}

template <class T>
void Head<T>::add_loss(const Exec<T>& e, double* total, Mat<const T> x, Vec<const int32_t> targets) const {
  const NamedRange range(e.ops, "head");
  norm_.fwd(e, e.rows_of(h_), x);
  for (int64_t first = 0; first < e.rows(); first += logits_.shape.rows) {
    const auto alive = e.alive(of_chunk_);
    chunk(e, first, std::min(logits_.shape.rows, e.rows() - first), targets, 0, 0);
  }
  e.ops.add_sum(e.stream, total, e.rows_of(loss_));
}

template <class T>
void Head<T>::add_loss_and_grads(const Exec<T>& e, double* total, Mat<T> dx, Mat<const T> x,
                                 Vec<const int32_t> targets) const {
  const NamedRange range(e.ops, "head");
  const auto alive = e.alive(backward_);
  norm_.fwd(e, e.rows_of(h_), x);
  const Mat<T> h = e.rows_of(h_), dh = e.rows_of(dh_);
  for (int64_t first = 0; first < e.rows(); first += logits_.shape.rows) {
    const auto chunk_alive = e.alive(of_chunk_);
    const int64_t count = std::min(logits_.shape.rows, e.rows() - first);
    const Mat<T> dlogits = chunk(e, first, count, targets, e.scale, z_loss_);
    e.ops.matmul_bwd(e.stream, {.dx = dh.row_range(first, count),
                                .dw = e.arena.padded_weight_grad(weight_),
                                .dy = dlogits,
                                .x = h.row_range(first, count),
                                .w = e.arena.padded_weight(weight_)});
  }
  e.ops.zero(e.stream, dx.data, size_t(dx.rows * dx.cols) * sizeof(T));
  norm_.bwd(e, dx, dh, x);
  e.ops.add_sum(e.stream, total, e.rows_of(loss_));
}

template <class T>
void Head<T>::last_logits(const Exec<T>& e, Mat<T> logits, Mat<const T> x) const {
  const NamedRange range(e.ops, "head");
  norm_.fwd(e, e.rows_of(h_), x);
  e.ops.matmul_fwd(
      e.stream, {.y = logits, .x = e.arena.at(h_).row_range(e.rows() - 1, 1), .w = e.arena.weight(weight_)});
}

template class Head<float>;
template class Head<double>;
template class Head<bf16>;

}  // namespace saslm
