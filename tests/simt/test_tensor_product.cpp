#include "kernels/tensor_product.h"
#include "simt/heads_case.h"
#include "tests/support.h"

namespace saslm {
namespace {

struct Shape {
  int64_t B, T, R, H, D;
};

template <class T>
void equals_twin(const Shape& s, const Layout& heads, const Layout& factors) {
  SCOPED_TRACE(testing::Message() << s.B << " " << s.T << " R " << s.R << " H " << s.H << " D " << s.D
                                  << " gaps " << heads.gap << ", " << factors.gap);
  HeadsTwin<T> y(s.B, s.T, s.H, s.D, heads), dy(s.B, s.T, s.H, s.D, heads);
  HeadsTwin<T> a(s.B, s.T, s.R, s.H, factors), b(s.B, s.T, s.R, s.D, factors);
  HeadsTwin<T> da(s.B, s.T, s.R, s.H, factors), db(s.B, s.T, s.R, s.D, factors);
  a.draw(1), b.draw(2), dy.draw(3);
  const auto fwd = [&]<class S>(S) {
    return TensorProductFwd<S>{
        .y = y.template view<S>(), .a = a.template view<S>(), .b = b.template view<S>()};
  };
  const auto bwd = [&]<class S>(S) {
    return TensorProductBwd<S>{.da = da.template view<S>(),
                               .db = db.template view<S>(),
                               .dy = dy.template view<S>(),
                               .a = a.template view<S>(),
                               .b = b.template view<S>()};
  };
  cpu::tensor_product_fwd<double>({}, fwd(double()));
  cpu::tensor_product_bwd<double>({}, bwd(double()));
  SameBits<T> same_y, same_da, same_db;
  simt::for_every_schedule([&](Stream stream) {
    y.poison(), da.poison(), db.poison();
    cuda::tensor_product_fwd<T>(stream, fwd(T()));
    cuda::tensor_product_bwd<T>(stream, bwd(T()));
    // One rounding to T of sums in float. Of n terms of typical size 1 the partial sums are below n^(1/2) of
    // the result's typical size n^(1/2), so each addition costs an epsilon of it.
    const auto tolerance = [](int64_t terms) {
      return kEpsilon<T> + double(2 * terms + 2) * kEpsilon<float>;
    };
    y.expect_near(tolerance(s.R), "y");
    da.expect_near(tolerance(s.D), "da");
    db.expect_near(tolerance(s.H), "db");
    same_y.expect(y.twin, "y"), same_da.expect(da.twin, "da"), same_db.expect(db.twin, "db");
  });
}

template <class T>
void equals_twin_on_all_shapes() {
  for (const Layout& heads : kLayouts)
    for (const Layout& factors : {Layout{}, Layout{.gap = 3}})
      equals_twin<T>({2, 5, 2, 3, 16}, heads, factors);
  equals_twin<T>({1, 1, 1, 1, 1}, {}, {});
  equals_twin<T>({2, 9, 6, 9, 24}, {}, {});   // ranks and heads in two and three passes; several blocks
  equals_twin<T>({1, 2, 3, 33, 7}, {}, {});   // single elements; more heads than lanes
  equals_twin<T>({1, 1, 2, 2, 264}, {}, {});  // longer than a warp's packs
}
TEST(SimtTensorProduct, FloatEqualsTwin) {
  equals_twin_on_all_shapes<float>();
}
TEST(SimtTensorProduct, Bf16EqualsTwin) {
  equals_twin_on_all_shapes<bf16>();
}

TEST(SimtTensorProduct, WrongShapeIsNamed) {
  HeadsTwin<bf16> heads(1, 2, 4, 8, {}), a(1, 2, 3, 4, {}), b(1, 2, 2, 8, {});
  test::expect_shape_error(
      [&] {
        cuda::tensor_product_fwd<bf16>({},
                                       {.y = heads.view<bf16>(), .a = a.view<bf16>(), .b = b.view<bf16>()});
      },
      {"tensor_product_fwd", "b", "(1, 2, 3, 8)", "(1, 2, 2, 8)"});
  test::expect_shape_error(
      [&] {
        cuda::tensor_product_bwd<bf16>({}, {.da = a.view<bf16>(),
                                            .db = b.view<bf16>(),
                                            .dy = heads.view<bf16>(),
                                            .a = a.view<bf16>(),
                                            .b = b.view<bf16>()});
      },
      {"tensor_product_bwd", "b", "(1, 2, 3, 8)", "(1, 2, 2, 8)"});
}

}  // namespace
}  // namespace saslm
