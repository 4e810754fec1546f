#include "kernels/head_embedding.h"
#include "simt/heads_case.h"
#include "tests/support.h"

namespace saslm {
namespace {

struct Shape {
  int64_t B, T, H, D;
};

template <class T>
struct Case {
  HeadEmbeddingForm form;
  Shape s;
  int64_t e_stride;
  HeadsTwin<T> y, dy, x, dx;
  Twin<T> e;
  Twin<float> de, partial;

  Case(HeadEmbeddingForm f, const Shape& shape, const Layout& heads, const Layout& shared, int64_t e_gap)
      : form(f),
        s(shape),
        e_stride(s.D + e_gap),
        y(s.B, s.T, s.H, s.D, heads),
        dy(s.B, s.T, s.H, s.D, heads),
        x(s.B, s.T, 1, s.D, shared),
        dx(s.B, s.T, 1, s.D, shared),
        e(s.H * e_stride),
        de(s.H * e_stride),
        partial(head_embedding_bwd_partials(s.B * s.T) * s.H * s.D) {
    x.draw(1), dy.draw(2), e.draw(3), de.fill(kStart);
  }
  template <class S>
  HeadEmbeddingFwd<S> fwd(S) {
    return {.form = form,
            .y = y.template view<S>(),
            .x = x.template view<S>(),
            .e = e.template mat<S>(s.H, s.D, e_stride)};
  }
  template <class S>
  HeadEmbeddingBwd<S> bwd(S) {
    using A = Accum<S>;
    return {.form = form,
            .dx = dx.template view<S>(),
            .de = de.template mat<A>(s.H, s.D, e_stride),
            .dy = dy.template view<S>(),
            .x = x.template view<S>(),
            .e = e.template mat<S>(s.H, s.D, e_stride),
            .partial = partial.template mat<A>(head_embedding_bwd_partials(s.B * s.T), s.H * s.D)};
  }
  static constexpr double kStart = 0.5;  // what de was before
};

template <class T>
void equals_twin(HeadEmbeddingForm form, const Shape& s, const Layout& heads = {}, const Layout& shared = {},
                 int64_t e_gap = 0) {
  SCOPED_TRACE(testing::Message() << s.B << " " << s.T << " H " << s.H << " D " << s.D << " gaps "
                                  << heads.gap << ", " << shared.gap << ", " << e_gap << " form "
                                  << int(form));
  Case<T> k(form, s, heads, shared, e_gap);
  cpu::head_embedding_fwd<double>({}, k.fwd(double()));
  cpu::head_embedding_bwd<double>({}, k.bwd(double()));
  SameBits<T> same_dx;
  SameBits<float> same_de;
  simt::for_every_schedule([&](Stream stream) {
    k.y.poison(), k.dx.poison(), k.partial.poison(), k.de.restart(k.kStart);
    cuda::head_embedding_fwd<T>(stream, k.fwd(T()));
    cuda::head_embedding_bwd<T>(stream, k.bwd(T()));
    // One rounding to T of sums in float. Terms of typical size 1 make partial sums below the result's
    // typical size, so that each addition costs an epsilon of it.
    k.y.expect_near(kEpsilon<T> + 4 * kEpsilon<float>, "y");
    k.dx.expect_near(kEpsilon<T> + double(2 * s.H + 2) * kEpsilon<float>, "dx");
    k.de.expect_near(double(2 * s.B * s.T + 4) * kEpsilon<float>, "de");
    same_dx.expect(k.dx.twin, "dx"), same_de.expect(k.de, "de");
  });
}

template <class T>
void equals_twin_on_all_shapes() {
  for (const HeadEmbeddingForm form : {HeadEmbeddingForm::add, HeadEmbeddingForm::mul}) {
    equals_twin<T>(form, {1, 1, 1, 1});
    for (const Layout& heads : kLayouts) equals_twin<T>(form, {2, 9, 3, 16}, heads);
    equals_twin<T>(form, {2, 3, 3, 16}, {}, {.gap = 8}, 8);
    equals_twin<T>(form, {2, 3, 3, 16}, {}, {.gap = 3}, 0);
    equals_twin<T>(form, {2, 3, 3, 16}, {}, {}, 5);
    equals_twin<T>(form, {3, 41, 5, 24});  // several tiles of several chunks, across sequences
  }
  equals_twin<T>(HeadEmbeddingForm::mul,
                 {1, 18, 17, 260});                       // more packs than threads, and than a warp's lanes
  equals_twin<T>(HeadEmbeddingForm::mul, {1, 2, 70, 9});  // single elements, more of them than threads
}
TEST(SimtHeadEmbedding, FloatEqualsTwin) {
  equals_twin_on_all_shapes<float>();
}
TEST(SimtHeadEmbedding, Bf16EqualsTwin) {
  equals_twin_on_all_shapes<bf16>();
}

TEST(SimtHeadEmbedding, WrongShapeIsNamed) {
  Case<bf16> k(HeadEmbeddingForm::add, {1, 2, 3, 4}, {}, {}, 0);
  HeadEmbeddingFwd<bf16> fwd = k.fwd(bf16());
  fwd.e.rows = 2;
  test::expect_shape_error([&] { cuda::head_embedding_fwd<bf16>({}, fwd); },
                           {"head_embedding_fwd", "e", "(3, 4)", "(2, 4)"});
  HeadEmbeddingBwd<bf16> bwd = k.bwd(bf16());
  bwd.partial.rows = 2;
  test::expect_shape_error([&] { cuda::head_embedding_bwd<bf16>({}, bwd); },
                           {"head_embedding_bwd", "partial", "(1, 12)", "(2, 12)"});
}

}  // namespace
}  // namespace saslm
