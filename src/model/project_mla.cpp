// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): queries from one narrow latent,
// keys and values from another.
//
//   q              = W_uq rmsnorm(W_dq x)          per head [nope | rope]
//   [c | r]        = W_dkv x                       r: the rotated part of the key, one for all heads
//   [k_nope | v]   = W_ukv rmsnorm(c)              per head
//   k              = [k_nope | r]
//
// v is read where W_ukv writes it; k is put together from its two parts. Rotation turns the rope parts alone,
// and r once, before it is copied to the heads. Under SAS nothing is turned here and r is simply shared.
//
// The cache holds k and [k_nope | v] of every head, as attention reads them; it does not use that c and r
// would do. There are no biases.
#include "model/linear.h"
#include "model/norm.h"
#include "model/projection.h"

namespace saslm {
namespace {

template <class T>
class MlaProjection final : public Projection<T> {
 public:
  MlaProjection(const MlaConfig& config, const ProjectionSpec<T>& s)
      : nope_(config.nope_dim), rope_dim_(config.rope_dim), kv_rank_(config.kv_rank), rope_(s.rope) {
    const int64_t H = s.model.attention.n_head, v_dim = config.v_dim, E = nope_ + rope_dim_;
    const auto buffer = [&](Region region, const char* name, int64_t heads, int64_t width) {
      return s.layout.heads_BTHD(region, s.name + name, s.run.batch, s.run.seq_len, heads, width);
    };
    const auto rows = [&](Region region, const char* name, int64_t width) {
      return s.layout.mat(region, s.name + name, s.run.rows(), width);
    };
    q_latent_ = rows(Region::activations, "q_latent", config.q_rank);
    q_h_ = rows(Region::activations, "q_norm.y", config.q_rank);
    kv_latent_ = buffer(Region::activations, "kv_latent", 1, kv_rank_ + rope_dim_);
    kv_h_ = rows(Region::activations, "kv_norm.y", kv_rank_);
    kv_ = buffer(s.v_region, "kv", H, nope_ + v_dim);
    out_ = {buffer(Region::activations, "q", H, E), buffer(s.k_region, "k", H, E),
            feature_range(kv_, nope_, v_dim)};

    const int64_t C = s.model.d_model;
    const auto linear = [&](const char* name, int64_t out, int64_t in) {
      return Linear<T>(s.layout, {s.name + name, "attention", out, in});
    };
    const auto norm = [&](const char* name, int64_t width) {
      const NormConfig rms{NormKind::rmsnorm, s.model.norm.eps};
      return Norm<T>(s.layout, {s.name + name, "attention", s.run.rows(), width, rms});
    };
    if (s.layout.training()) {
      dkv_ = buffer(Region::scratch, "dkv", H, nope_ + v_dim);
      grads_ = {buffer(Region::scratch, "dq", H, E), buffer(Region::scratch, "dk", H, E),
                feature_range(dkv_, nope_, v_dim)};
    }

    const typename Layout<T>::Scope backward(s.layout, Region::scratch, &backward_);
    if (s.layout.training()) {
      dq_latent_ = rows(Region::scratch, "dq_latent", config.q_rank);
      dq_h_ = rows(Region::scratch, "q_norm.dy", config.q_rank);
      dkv_latent_ = buffer(Region::scratch, "dkv_latent", 1, kv_rank_ + rope_dim_);
      dkv_h_ = rows(Region::scratch, "kv_norm.dy", kv_rank_);
    }
    q_down_ = linear("q_down", config.q_rank, C);
    q_norm_ = norm("q_norm", config.q_rank);
    q_up_ = linear("q_up", H * E, config.q_rank);
    kv_down_ = linear("kv_down", kv_rank_ + rope_dim_, C);
    kv_norm_ = norm("kv_norm", kv_rank_);
    kv_up_ = linear("kv_up", H * (nope_ + v_dim), kv_rank_);
  }

  int64_t macs() const override { return q_down_.macs() + q_up_.macs() + kv_down_.macs() + kv_up_.macs(); }
  bool has_biases() const override { return false; }
  Qkv<T> out() const override { return out_; }
  Qkv<T> out_grads() const override { return grads_; }

  void fwd(const Exec<T>& e, Mat<const T> x) const override {
    const Mat<T> q_latent = e.rows_of(q_latent_), q_h = e.rows_of(q_h_);
    q_down_.fwd(e, q_latent, x);
    q_norm_.fwd(e, q_h, q_latent);
    q_up_.fwd(e, e.flat(out_.q), q_h);
    rotate(e, rope_part(out_.q), false);

    const Mat<T> kv_latent = e.flat(kv_latent_), kv_h = e.rows_of(kv_h_);
    kv_down_.fwd(e, kv_latent, x);
    kv_norm_.fwd(e, kv_h, kv_latent.first_cols(kv_rank_));
    kv_up_.fwd(e, e.flat(kv_), kv_h);
    rotate(e, shared_part(kv_latent_), false);
    e.ops.repeat_heads_fwd(e.stream, {.y = e.heads_of(nope_part(out_.k)), .x = e.heads_of(nope_part(kv_))});
    e.ops.repeat_heads_fwd(e.stream,
                           {.y = e.heads_of(rope_part(out_.k)), .x = e.heads_of(shared_part(kv_latent_))});
  }

  void bwd(const Exec<T>& e, Mat<T> dx, Mat<const T> x) const override {
    const auto alive = e.alive(backward_);
    // The gradients of the latents gather what reaches them: norms add.
    const Mat<T> dq_latent = e.rows_of(dq_latent_), dq_h = e.rows_of(dq_h_);
    e.ops.zero(e.stream, dq_latent.data, size_t(dq_latent.rows * dq_latent.cols) * sizeof(T));
    rotate(e, rope_part(grads_.q), true);
    q_up_.bwd(e, dq_h, e.flat(grads_.q), e.rows_of(q_h_));
    q_norm_.bwd(e, dq_latent, dq_h, e.rows_of(q_latent_));
    q_down_.bwd(e, dx, dq_latent, x);

    const Mat<T> dkv_latent = e.flat(dkv_latent_), dkv_h = e.rows_of(dkv_h_);
    e.ops.zero(e.stream, dkv_latent.data, size_t(dkv_latent.rows * dkv_latent.cols) * sizeof(T));
    e.ops.repeat_heads_bwd(
        e.stream, {.dx = e.heads_of(shared_part(dkv_latent_)), .dy = e.heads_of(rope_part(grads_.k))});
    rotate(e, shared_part(dkv_latent_), true);
    e.ops.repeat_heads_bwd(e.stream,
                           {.dx = e.heads_of(nope_part(dkv_)), .dy = e.heads_of(nope_part(grads_.k))});
    kv_up_.bwd(e, dkv_h, e.flat(dkv_), e.rows_of(kv_h_));
    kv_norm_.bwd(e, dkv_latent.first_cols(kv_rank_), dkv_h, e.flat(kv_latent_).first_cols(kv_rank_));
    kv_down_.bwd(e, dx, dkv_latent, x, Linear<T>::Dx::add);
  }

 private:
  using Buffer = Slot<Heads<T>>;
  Buffer nope_part(const Buffer& heads) const { return feature_range(heads, 0, nope_); }
  Buffer rope_part(const Buffer& heads) const { return feature_range(heads, nope_, rope_dim_); }
  Buffer shared_part(const Buffer& latent) const { return feature_range(latent, kv_rank_, rope_dim_); }

  void rotate(const Exec<T>& e, const Buffer& part, bool inverse) const {
    if (!rope_.cos) return;
    e.ops.rope(e.stream,
               {.x = e.heads_of(part), .table = e.rope(rope_), .start = e.start, .inverse = inverse});
  }

  int64_t nope_, rope_dim_, kv_rank_;
  RopeSlots<T> rope_;
  Linear<T> q_down_, q_up_, kv_down_, kv_up_;
  Norm<T> q_norm_, kv_norm_;
  Slot<Mat<T>> q_latent_, q_h_, kv_h_;     // (N, rank): what the down projections yield, and normalised
  Slot<Mat<T>> dq_latent_, dq_h_, dkv_h_;  // gradients of these, in backward_
  Buffer kv_latent_, dkv_latent_;          // (B, T, 1, kv_rank + rope_dim); the gradient in backward_
  Buffer kv_, dkv_;                        // (B, T, H, nope + v_dim)
  Qkv<T> out_, grads_;
  Extent backward_;
};

}  // namespace

template <class T>
std::unique_ptr<Projection<T>> make_projection(const MlaConfig& config, const ProjectionSpec<T>& spec) {
  return std::make_unique<MlaProjection<T>>(config, spec);
}

template std::unique_ptr<Projection<float>> make_projection(const MlaConfig&, const ProjectionSpec<float>&);
template std::unique_ptr<Projection<double>> make_projection(const MlaConfig&, const ProjectionSpec<double>&);
template std::unique_ptr<Projection<bf16>> make_projection(const MlaConfig&, const ProjectionSpec<bf16>&);

}  // namespace saslm
