// Tensor-product attention (arXiv 2501.06425): each of q, k and v is the mean of R products of a factor over
// heads and a factor over features, both linear in the token.
//
//   A = W_a x  (R, H)      B = W_b x  (R, D)      head h = (1/R) sum_r A[r,h] B[r]
//
// Rotation is linear in the features, so it turns the R rows of B instead of the H heads; under SAS nothing
// is turned here. There are no biases.
#include "model/three_streams.h"

namespace saslm {
namespace {

// One of q, k and v: its factors, and the product of them.
template <class T>
class FactoredHeads {
 public:
  struct Spec {
    const char* name;
    int64_t rank = 0;
    Region region;        // of the product
    RopeSlots<T> rope{};  // of B's rows; absent: they are not turned
  };
  FactoredHeads(const ProjectionSpec<T>& s, const Spec& stream) : rope_(stream.rope) {
    const int64_t H = s.model.attention.n_head, D = s.model.attention.head_dim, R = stream.rank;
    const std::string name = s.name + stream.name;
    const auto buffer = [&](Region region, const std::string& suffix, int64_t rows, int64_t width) {
      return s.layout.heads_BTHD(region, name + suffix, s.run.batch, s.run.seq_len, rows, width);
    };
    linear_a_ = Linear<T>(s.layout, {name + "_a", "attention", R * H, s.model.d_model});
    linear_b_ = Linear<T>(s.layout, {name + "_b", "attention", R * D, s.model.d_model});
    a_ = buffer(Region::activations, "_a.y", R, H);
    b_ = buffer(Region::activations, "_b.y", R, D);
    y_ = buffer(stream.region, "", H, D);
    if (s.layout.training()) dy_ = buffer(Region::scratch, ".dy", H, D);
  }

  // After the dy of all streams, which are alive during each one's bwd.
  void declare_factor_gradients(const ProjectionSpec<T>& s) {
    const typename Layout<T>::Scope backward(s.layout, Region::scratch, &backward_);
    const auto like = [&](const Slot<Heads<T>>& x, const char* name) {
      return s.layout.heads_BTHD(Region::scratch, s.name + name, x.shape.B, x.shape.T, x.shape.H, x.shape.D);
    };
    da_ = like(a_, "da");
    db_ = like(b_, "db");
  }

  int64_t macs() const { return linear_a_.macs() + linear_b_.macs() + y_.shape.H * y_.shape.D * a_.shape.H; }
  Slot<Heads<T>> y() const { return y_; }
  Slot<Heads<T>> y_grad() const { return dy_; }

  void fwd(const Exec<T>& e, Mat<const T> x) const {
    linear_a_.fwd(e, e.flat(a_), x);
    linear_b_.fwd(e, e.flat(b_), x);
    rotate(e, b_, false);
    e.ops.tensor_product_fwd(e.stream, {.y = e.heads_of(y_), .a = e.heads_of(a_), .b = e.heads_of(b_)});
  }

  void bwd(const Exec<T>& e, Mat<T> dx, Mat<const T> x, typename Linear<T>::Dx mode) const {
    const auto alive = e.alive(backward_);
    e.ops.tensor_product_bwd(e.stream, {.da = e.heads_of(da_),
                                        .db = e.heads_of(db_),
                                        .dy = e.heads_of(dy_),
                                        .a = e.heads_of(a_),
                                        .b = e.heads_of(b_)});
    rotate(e, db_, true);
    linear_a_.bwd(e, dx, e.flat(da_), x, mode);
    linear_b_.bwd(e, dx, e.flat(db_), x, Linear<T>::Dx::add);
  }

 private:
  void rotate(const Exec<T>& e, const Slot<Heads<T>>& rows, bool inverse) const {
    if (!rope_.cos) return;
    e.ops.rope(e.stream,
               {.x = e.heads_of(rows), .table = e.rope(rope_), .start = e.start, .inverse = inverse});
  }

  RopeSlots<T> rope_;
  Linear<T> linear_a_, linear_b_;
  Slot<Heads<T>> a_, b_;    // (B, T, R, H) and (B, T, R, D), B turned
  Slot<Heads<T>> y_, dy_;   // (B, T, H, D)
  Slot<Heads<T>> da_, db_;  // in backward_
  Extent backward_;
};

template <class T>
class TpaProjection final : public ThreeStreams<T, FactoredHeads<T>> {
 public:
  TpaProjection(const TpaConfig& config, const ProjectionSpec<T>& s)
      : ThreeStreams<T, FactoredHeads<T>>({s, {"q", config.q_rank, Region::activations, s.rope}},
                                          {s, {"k", config.k_rank, s.k_region, s.rope}},
                                          {s, {"v", config.v_rank, s.v_region}}) {
    if (!s.layout.training()) return;
    for (FactoredHeads<T>* stream : {&this->q_, &this->k_, &this->v_}) stream->declare_factor_gradients(s);
  }
};

}  // namespace

template <class T>
std::unique_ptr<Projection<T>> make_projection(const TpaConfig& config, const ProjectionSpec<T>& spec) {
  return std::make_unique<TpaProjection<T>>(config, spec);
}

template std::unique_ptr<Projection<float>> make_projection(const TpaConfig&, const ProjectionSpec<float>&);
template std::unique_ptr<Projection<double>> make_projection(const TpaConfig&, const ProjectionSpec<double>&);
template std::unique_ptr<Projection<bf16>> make_projection(const TpaConfig&, const ProjectionSpec<bf16>&);

}  // namespace saslm
