// Multiple-head embeddings (Xue & Aletras, arXiv 2310.07911): q, k and v are one head each, and an embedding
// per head makes H of it.
//
//   add   head h = W x + e[h]          mul   head h = (W x) * (1 + e[h]), feature by feature
//
// Rotation comes after the embedding, which stands in for the projection's bias; under SAS nothing is turned
// here. There are no biases.
#include "model/three_streams.h"

namespace saslm {
namespace {

// One of q, k and v: the head all share, and what its embeddings make of it.
template <class T>
class EmbeddedHeads {
 public:
  struct Spec {
    const char* name;
    MheForm form;
    Region region;        // of the heads
    RopeSlots<T> rope{};  // absent: they are not turned
  };
  EmbeddedHeads(const ProjectionSpec<T>& s, const Spec& stream)
      : form_(stream.form == MheForm::mul ? HeadEmbeddingForm::mul : HeadEmbeddingForm::add),
        rope_(stream.rope) {
    const int64_t H = s.model.attention.n_head, D = s.model.attention.head_dim;
    const std::string name = s.name + stream.name;
    const auto buffer = [&](Region region, const char* suffix, int64_t heads) {
      return s.layout.heads_BTHD(region, name + suffix, s.run.batch, s.run.seq_len, heads, D);
    };
    linear_ = Linear<T>(s.layout, {name, "attention", D, s.model.d_model});
    embed_ = s.layout.param(name + "_embed.weight", {H, D}, "attention", Init::normal(0.02));
    x_ = buffer(Region::activations, ".shared", 1);
    y_ = buffer(stream.region, "", H);
    if (s.layout.training()) dy_ = buffer(Region::scratch, ".dy", H);
  }

  // After the dy of all streams, which are alive during each one's bwd.
  void declare_shared_gradients(const ProjectionSpec<T>& s) {
    const typename Layout<T>::Scope backward(s.layout, Region::scratch, &backward_);
    const Heads<T>& x = x_.shape;
    dx_ = s.layout.heads_BTHD(Region::scratch, s.name + "shared.dx", x.B, x.T, 1, x.D);
    partial_ = s.layout.template mat<Accum<T>>(Region::scratch, s.name + "embed.partial",
                                               head_embedding_bwd_partials(x.B * x.T), y_.shape.H * x.D);
  }

  int64_t macs() const { return linear_.macs(); }
  Slot<Heads<T>> y() const { return y_; }
  Slot<Heads<T>> y_grad() const { return dy_; }

  void fwd(const Exec<T>& e, Mat<const T> x) const {
    linear_.fwd(e, e.flat(x_), x);
    e.ops.head_embedding_fwd(
        e.stream, {.form = form_, .y = e.heads_of(y_), .x = e.heads_of(x_), .e = e.arena.weight(embed_)});
    rotate(e, y_, false);
  }

  void bwd(const Exec<T>& e, Mat<T> dx, Mat<const T> x, typename Linear<T>::Dx mode) const {
    const auto alive = e.alive(backward_);
    rotate(e, dy_, true);
    e.ops.head_embedding_bwd(e.stream, {.form = form_,
                                        .dx = e.heads_of(dx_),
                                        .de = e.arena.weight_grad(embed_),
                                        .dy = e.heads_of(dy_),
                                        .x = e.heads_of(x_),
                                        .e = e.arena.weight(embed_),
                                        .partial = e.arena.at(partial_)});
    linear_.bwd(e, dx, e.flat(dx_), x, mode);
  }

 private:
  void rotate(const Exec<T>& e, const Slot<Heads<T>>& heads, bool inverse) const {
    if (!rope_.cos) return;
    e.ops.rope(e.stream,
               {.x = e.heads_of(heads), .table = e.rope(rope_), .start = e.start, .inverse = inverse});
  }

  HeadEmbeddingForm form_;
  RopeSlots<T> rope_;
  Linear<T> linear_;
  Param embed_;            // (H, D)
  Slot<Heads<T>> x_;       // (B, T, 1, D)
  Slot<Heads<T>> y_, dy_;  // (B, T, H, D)
  Slot<Heads<T>> dx_;      // as x_, in backward_, as is:
  Slot<Mat<Accum<T>>> partial_;
  Extent backward_;
};

template <class T>
class MheProjection final : public ThreeStreams<T, EmbeddedHeads<T>> {
 public:
  MheProjection(const MheConfig& config, const ProjectionSpec<T>& s)
      : ThreeStreams<T, EmbeddedHeads<T>>({s, {"q", config.form, Region::activations, s.rope}},
                                          {s, {"k", config.form, s.k_region, s.rope}},
                                          {s, {"v", config.form, s.v_region}}) {
    if (!s.layout.training()) return;
    for (EmbeddedHeads<T>* stream : {&this->q_, &this->k_, &this->v_}) stream->declare_shared_gradients(s);
  }
};

}  // namespace

template <class T>
std::unique_ptr<Projection<T>> make_projection(const MheConfig& config, const ProjectionSpec<T>& spec) {
  return std::make_unique<MheProjection<T>>(config, spec);
}

template std::unique_ptr<Projection<float>> make_projection(const MheConfig&, const ProjectionSpec<float>&);
template std::unique_ptr<Projection<double>> make_projection(const MheConfig&, const ProjectionSpec<double>&);
template std::unique_ptr<Projection<bf16>> make_projection(const MheConfig&, const ProjectionSpec<bf16>&);

}  // namespace saslm
