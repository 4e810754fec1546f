#include "kernels/repeat_heads.h"
#include "simt/heads_case.h"
#include "tests/support.h"

namespace saslm {
namespace {

struct Shape {
  int64_t B, T, G, group, D;
};

template <class T>
void equals_twin(const Shape& s, const Layout& many, const Layout& few) {
  SCOPED_TRACE(testing::Message() << s.B << " " << s.T << " " << s.G << " x " << s.group << " " << s.D
                                  << " gaps " << many.gap << ", " << few.gap);
  const int64_t H = s.G * s.group;
  HeadsTwin<T> y(s.B, s.T, H, s.D, many), dy(s.B, s.T, H, s.D, many);
  HeadsTwin<T> x(s.B, s.T, s.G, s.D, few), dx(s.B, s.T, s.G, s.D, few);
  x.draw(1), dy.draw(2);
  const auto fwd = [&]<class S>(S) {
    return RepeatHeadsFwd<S>{.y = y.template view<S>(), .x = x.template view<S>()};
  };
  const auto bwd = [&]<class S>(S) {
    return RepeatHeadsBwd<S>{.dx = dx.template view<S>(), .dy = dy.template view<S>()};
  };
  cpu::repeat_heads_fwd<double>({}, fwd(double()));
  cpu::repeat_heads_bwd<double>({}, bwd(double()));
  SameBits<T> same;
  simt::for_every_schedule([&](Stream stream) {
    y.poison(), dx.poison();
    cuda::repeat_heads_fwd<T>(stream, fwd(T()));
    cuda::repeat_heads_bwd<T>(stream, bwd(T()));
    y.expect_near(0, "y");  // copies
    // One rounding to T of a sum whose terms, at most 8 of them, are rounded in float.
    dx.expect_near(kEpsilon<T> + 8 * kEpsilon<float>, "dx");
    same.expect(dx.twin, "dx");
  });
}

template <class T>
void equals_twin_on_all_shapes() {
  for (const Layout& many : kLayouts)
    for (const Layout& few : {Layout{}, Layout{.gap = 3}}) equals_twin<T>({2, 9, 2, 3, 16}, many, few);
  equals_twin<T>({1, 1, 1, 1, 1}, {}, {});
  equals_twin<T>({2, 35, 1, 5, 24}, {}, {});  // several tiles, the last not full
  equals_twin<T>({1, 3, 7, 1, 40}, {}, {});   // a copy
  equals_twin<T>({1, 2, 1, 8, 7}, {}, {});
}
TEST(SimtRepeatHeads, FloatEqualsTwin) {
  equals_twin_on_all_shapes<float>();
}
TEST(SimtRepeatHeads, Bf16EqualsTwin) {
  equals_twin_on_all_shapes<bf16>();
}

TEST(SimtRepeatHeads, WrongShapeIsNamed) {
  HeadsTwin<bf16> many(1, 2, 4, 8, {}), few(1, 2, 3, 8, {});
  test::expect_shape_error(
      [&] { cuda::repeat_heads_fwd<bf16>({}, {.y = many.view<bf16>(), .x = few.view<bf16>()}); },
      {"repeat_heads_fwd", "x", "divisor of 4", "3"});
  test::expect_shape_error(
      [&] { cuda::repeat_heads_bwd<bf16>({}, {.dx = few.view<bf16>(), .dy = many.view<bf16>()}); },
      {"repeat_heads_bwd", "dx", "divisor of 4", "3"});
}

}  // namespace
}  // namespace saslm
