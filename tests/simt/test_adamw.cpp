#include "core/error.h"
#include "kernels/adamw.h"
#include "simt/views.h"

namespace saslm {
namespace {

// Views start one element late by the bits of `odd`: master, m, v, grad, param.
template <class T>
void step_is_its_twin(int64_t size, unsigned odd, int64_t t) {
  SCOPED_TRACE(::testing::Message() << size << ", odd " << odd << ", t = " << t);
  constexpr bool kHasParam = !std::is_same_v<T, float>;
  Twin<float> master(size + 1), m(size + 1), v(size + 1), grad(size + 1);
  Twin<T> param(size + 1);
  master.draw(1), m.draw(2, 0.1), v.draw(3, 0.02, 0.1), grad.draw(4), param.fill(0.25);
  for (int64_t i = 0; i < v.size(); ++i) v.set(i, std::abs(v.twin(i)));
  const auto copy = [](Twin<float>& x) { return std::vector<float>(&x[0], &x[0] + x.size()); };
  const std::vector<float> master_0 = copy(master), m_0 = copy(m), v_0 = copy(v);

  const auto args = [&]<class S>(S) {
    const auto view = [&]<class X, class Y>(Twin<X>& x, int bit, Y) {
      return Vec<Y>{x.template data<Y>() + (odd >> bit & 1), size};
    };
    using A = Accum<S>;
    return AdamW<S>{.master = view(master, 0, A()),
                    .m = view(m, 1, A()),
                    .v = view(v, 2, A()),
                    .param = kHasParam ? view(param, 4, S()) : Vec<S>{},
                    .grad = view(grad, 3, A()),
                    .lr = 0.01,
                    .beta1 = 0.9,
                    .beta2 = 0.95,
                    .eps = 1e-8,
                    .weight_decay = 0.1,
                    .grad_scale = 0.7,
                    .t = t};
  };
  cpu::adamw<double>({}, args(double()));
  SameBits<float> same;
  simt::for_every_schedule([&](Stream stream) {
    std::copy(master_0.begin(), master_0.end(), &master[0]);
    std::copy(m_0.begin(), m_0.end(), &m[0]);
    std::copy(v_0.begin(), v_0.end(), &v[0]);
    if (kHasParam)
      for (int64_t i = 0; i < size; ++i) args(T()).param[i] = T(NAN);
    cuda::adamw<T>(stream, args(T()));
    master.expect_near(8 * kEpsilon<float>,
                       "master");  // about ten roundings, most of a term lr times as large
    m.expect_near(4 * kEpsilon<float>, "m");
    v.expect_near(6 * kEpsilon<float>, "v");
    param.expect_near(kEpsilon<T> + 8 * kEpsilon<float>, "param");
    same.expect(master, "master");
  });
}

template <class T>
class SimtAdamW : public ::testing::Test {};
using Types = ::testing::Types<float, bf16>;
TYPED_TEST_SUITE(SimtAdamW, Types);

TYPED_TEST(SimtAdamW, StepIsItsTwin) {
  constexpr unsigned kAll = 31;
  for (const int64_t size : {1, 4, 7, 1024, 2051})
    for (const unsigned odd : {0u, kAll}) step_is_its_twin<TypeParam>(size, odd, 3);
  for (const unsigned odd : {1u, 2u, 4u, 8u, 16u}) step_is_its_twin<TypeParam>(24, odd, 1);
}

TYPED_TEST(SimtAdamW, NothingIsNoWork) {
  cuda::adamw<TypeParam>({}, {.t = 1});
}

TEST(SimtAdamWShapes, WrongOnesAreNamed) {
  Twin<float> x(4);
  EXPECT_THROW(cuda::adamw<float>({}, {.master = x.vec<float>(), .grad = x.vec<float>(), .t = 1}),
               ShapeError);
  EXPECT_THROW(cuda::adamw<float>({}, {.t = 0}), ShapeError);
  double out = 0;
  EXPECT_THROW(cuda::sum({}, {.out = &out, .x = x.vec<float>()}), ShapeError);
}

void sums_are_right(int64_t size, int64_t first) {
  SCOPED_TRACE(::testing::Message() << size << " from " << first);
  Twin<float> x(first + size);
  x.draw(1, 1, 0.1);
  long double sum = 0, magnitudes = 0;
  for (int64_t i = first; i < x.size(); ++i) sum += x.twin(i), magnitudes += std::abs(x.twin(i));
  Twin<double> partial(device_sum_partials(size)), out(1);
  SameBits<double> same;
  simt::for_every_schedule([&](Stream stream) {
    out.restart(0.5), partial.poison();
    cuda::sum(stream, {.out = &out[0], .partial = {&partial[0], partial.size()}, .x = {&x[first], size}});
    // Roundings of double along a path of additions, at most size / partials / 256 + 30 of them.
    const double wanted = 0.5 + double(sum), bound = 0x1p-46 * (0.5 + double(magnitudes));
    TwinLog("sum", "double").add(std::abs(out[0] - wanted), bound);
    EXPECT_NEAR(out[0], wanted, bound);
    same.expect(out, "sum");
  });
}

TEST(SimtSum, IsTheSumInDouble) {
  for (const int64_t size : {0, 1, 5, 1024, 2048 * 3 + 77})
    for (const int64_t first : {0, 1}) sums_are_right(size, first);
  sums_are_right(2048 * 260, 0);  // more partial sums than the last block has threads
}

}  // namespace
}  // namespace saslm
