#include "core/error.h"
#include "kernels/norm.h"
#include "simt/views.h"

namespace saslm {
namespace {

constexpr unsigned kAll = ~0u;

struct Shape {
  int64_t N, C;
  int64_t gap = 0;   // elements between the rows
  unsigned odd = 0;  // views that start one element late, by the bits of View
  bool layer = true;
};
enum View { kX, kY, kW, kB, kDx, kDy, kPartial, kViews };

// One row and channel; ragged; packs, in one strip and several; the same rows unaligned by base and by
// stride; several blocks, tiles of a chunk and chunks; more chunks than a column sum has warps.
const Shape kShapes[] = {{1, 1},           {5, 7, 2},
                         {11, 40, 8},      {3, 1104},
                         {9, 48, 0, kAll}, {2, 2056, 0, 0, false},
                         {4, 32, 3},       {70, 24, 0, 0, false},
                         {530, 3},         {4, 65, 0, 0, false}};

template <class T>
class Norms {
 public:
  explicit Norms(const Shape& shape)
      : s_(shape),
        x_(size()),
        w_(s_.C + 1),
        b_(s_.C + 1),
        y_(size()),
        rstd_(s_.N),
        mean_(s_.N),
        dx_(size()),
        dw_(s_.C),
        db_(s_.C),
        dy_(size()),
        partial_(norm_bwd_partials(s_.N) * (2 * s_.C + s_.gap) + 1) {
    x_.draw(1, 0.7, 1.5), w_.draw(2, 0.5, 1), b_.draw(3), dy_.draw(4);
    set_outputs();
  }

  void run_fwd() {
    cpu::norm_fwd<double>({}, fwd<double>());
    SameBits<T> same_y;
    SameBits<float> same_rstd;
    simt::for_every_schedule([&](Stream stream) {
      poison(mat<T>(y_, kY));
      rstd_.poison(), mean_.poison();
      cuda::norm_fwd<T>(stream, fwd<T>());
      // The statistics are fp32 sums of well conditioned terms, the result is rounded once more.
      rstd_.expect_near(16 * kEpsilon<float>, "rstd");
      if (s_.layer) mean_.expect_near(16 * kEpsilon<float>, "mean");
      y_.expect_near(kEpsilon<T> + 32 * kEpsilon<float>, "y");
      same_y.expect(y_, "y"), same_rstd.expect(rstd_, "rstd");
    });
  }

  void run_bwd() {
    cpu::norm_fwd<double>({}, fwd<double>());
    for (int64_t n = 0; n < s_.N; ++n) rstd_.set(n, rstd_.twin(n)), mean_.set(n, mean_.twin(n));
    cpu::norm_bwd<double>({}, bwd<double>());
    SameBits<T> same_dx;
    SameBits<float> same_dw, same_db;
    simt::for_every_schedule([&](Stream stream) {
      dx_.restart(kStart), dw_.restart(kStart), db_.restart(kStart), partial_.poison();
      cuda::norm_bwd<T>(stream, bwd<T>());
      // As above; a weight's sum over the rows goes by runs of at most 16 terms, tiles and chunks.
      dx_.expect_near(kEpsilon<T> + 32 * kEpsilon<float>, "dx");
      dw_.expect_near(32 * kEpsilon<float>, "dw");
      db_.expect_near(32 * kEpsilon<float>, "db");
      same_dx.expect(dx_, "dx"), same_dw.expect(dw_, "dw"), same_db.expect(db_, "db");
    });
  }

  template <class S>
  NormFwd<S> fwd() {
    return {.y = mat<S>(y_, kY),
            .rstd = rstd_.template vec<Accum<S>>(),
            .mean = layer(mean_.template vec<Accum<S>>()),
            .x = mat<S>(x_, kX),
            .w = vec<S>(w_, kW),
            .b = layer(vec<S>(b_, kB)),
            .eps = 1e-5};
  }
  template <class S>
  NormBwd<S> bwd() {
    const int64_t chunks = norm_bwd_partials(s_.N);
    return {.dx = mat<S>(dx_, kDx),
            .dw = dw_.template vec<Accum<S>>(),
            .db = layer(db_.template vec<Accum<S>>()),
            .dy = mat<S>(dy_, kDy),
            .x = mat<S>(x_, kX),
            .w = vec<S>(w_, kW),
            .rstd = rstd_.template vec<Accum<S>>(),
            .mean = layer(mean_.template vec<Accum<S>>()),
            .partial = partial_.template mat<Accum<S>>(chunks, 2 * s_.C, 2 * s_.C + s_.gap, start(kPartial))};
  }

 private:
  static constexpr double kStart = 0.25;

  int64_t size() const { return s_.N * (s_.C + s_.gap) + 1; }
  void set_outputs() {  // what += starts from, and what lies between the rows of y
    for (Twin<T>* t : {&y_, &dx_}) t->fill(kStart);
    for (Twin<float>* t : {&dw_, &db_, &mean_}) t->fill(kStart);
  }
  int64_t start(View view) const { return s_.odd >> view & 1; }
  template <class S>
  Mat<S> mat(Twin<T>& t, View view) {
    return t.template mat<S>(s_.N, s_.C, s_.C + s_.gap, start(view));
  }
  template <class S>
  Vec<S> vec(Twin<T>& t, View view) {
    return {t.template data<S>() + start(view), s_.C};
  }
  template <class V>
  V layer(V v) const {
    return s_.layer ? v : V{};
  }

  Shape s_;
  Twin<T> x_, w_, b_, y_;
  Twin<float> rstd_, mean_;
  Twin<T> dx_;
  Twin<float> dw_, db_;
  Twin<T> dy_;
  Twin<float> partial_;
};

template <class T>
class SimtNorm : public ::testing::Test {};
using Types = ::testing::Types<float, bf16>;
TYPED_TEST_SUITE(SimtNorm, Types);

TYPED_TEST(SimtNorm, ForwardIsItsTwin) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(::testing::Message() << "(" << shape.N << ", " << shape.C << ")");
    Norms<TypeParam>(shape).run_fwd();
  }
}

TYPED_TEST(SimtNorm, BackwardIsItsTwin) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(::testing::Message() << "(" << shape.N << ", " << shape.C << ")");
    Norms<TypeParam>(shape).run_bwd();
  }
}

TYPED_TEST(SimtNorm, AnyViewMayBeUnaligned) {
  for (int view = 0; view < kViews; ++view) {
    SCOPED_TRACE(view);
    Norms<TypeParam> norms({2, 16, 0, 1u << view});
    norms.run_fwd();
    norms.run_bwd();
  }
}

TYPED_TEST(SimtNorm, NoRowsAreNoWork) {
  Norms<TypeParam> norms({0, 8});
  cuda::norm_fwd({}, norms.template fwd<TypeParam>());
  cuda::norm_bwd({}, norms.template bwd<TypeParam>());
}

TEST(SimtNormShapes, WrongOnesAreNamed) {
  Norms<bf16> norms({4, 8});
  NormFwd<bf16> fwd = norms.fwd<bf16>();
  fwd.y.cols = 7;
  EXPECT_THROW(cuda::norm_fwd({}, fwd), ShapeError);
  NormBwd<bf16> bwd = norms.bwd<bf16>();
  bwd.partial.rows = 2;
  EXPECT_THROW(cuda::norm_bwd({}, bwd), ShapeError);
}

}  // namespace
}  // namespace saslm
