// q = W_q x, k = W_k x, v = W_v x with H query heads and G key/value heads: mha (G = H), gqa, mqa (G = 1).
#include "model/linear.h"
#include "model/projection.h"

namespace saslm {
namespace {

template <class T>
class GqaProjection final : public Projection<T> {
 public:
  GqaProjection(const GqaConfig& config, const ProjectionSpec<T>& s) : rope_(s.rope), biases_(s.model.bias) {
    const int64_t n_head = s.model.attention.n_head, head_dim = s.model.attention.head_dim;
    const int64_t G = config.n_kv_head, C = s.model.d_model;
    const auto linear = [&](const char* name, int64_t heads) {
      return Linear<T>(s.layout, {s.name + name, "attention", heads * head_dim, C, biases_});
    };
    q_ = linear("q", n_head);
    k_ = linear("k", G);
    v_ = linear("v", G);

    const auto buffer = [&](Region region, const std::string& name, int64_t heads) {
      return s.layout.heads_BTHD(region, s.name + name, s.run.batch, s.run.seq_len, heads, head_dim);
    };
    out_ = {buffer(Region::activations, "q", n_head), buffer(s.k_region, "k", G), buffer(s.v_region, "v", G)};
    if (s.layout.training())
      grads_ = {buffer(Region::scratch, "dq", n_head), buffer(Region::scratch, "dk", G),
                buffer(Region::scratch, "dv", G)};
  }

  int64_t macs() const override { return q_.macs() + k_.macs() + v_.macs(); }
  bool has_biases() const override { return biases_; }
  Qkv<T> out() const override { return out_; }
  Qkv<T> out_grads() const override { return grads_; }

  void fwd(const Exec<T>& e, Mat<const T> x) const override {
    q_.fwd(e, e.flat(out_.q), x);
    k_.fwd(e, e.flat(out_.k), x);
    v_.fwd(e, e.flat(out_.v), x);
    rotate(e, out_, false);
  }

  void bwd(const Exec<T>& e, Mat<T> dx, Mat<const T> x) const override {
    rotate(e, grads_, true);
    q_.bwd(e, dx, e.flat(grads_.q), x);
    k_.bwd(e, dx, e.flat(grads_.k), x, Linear<T>::Dx::add);
    v_.bwd(e, dx, e.flat(grads_.v), x, Linear<T>::Dx::add);
  }

 private:
  void rotate(const Exec<T>& e, const Qkv<T>& qkv, bool inverse) const {
    if (!rope_.cos) return;
    for (const auto& slot : {qkv.q, qkv.k})
      e.ops.rope(e.stream,
                 {.x = e.heads_of(slot), .table = e.rope(rope_), .start = e.start, .inverse = inverse});
  }

  RopeSlots<T> rope_;
  bool biases_;
  Linear<T> q_, k_, v_;
  Qkv<T> out_, grads_;
};

}  // namespace

template <class T>
std::unique_ptr<Projection<T>> make_projection(const GqaConfig& config, const ProjectionSpec<T>& spec) {
  return std::make_unique<GqaProjection<T>>(config, spec);
}

template std::unique_ptr<Projection<float>> make_projection(const GqaConfig&, const ProjectionSpec<float>&);
template std::unique_ptr<Projection<double>> make_projection(const GqaConfig&, const ProjectionSpec<double>&);
template std::unique_ptr<Projection<bf16>> make_projection(const GqaConfig&, const ProjectionSpec<bf16>&);

}  // namespace saslm
