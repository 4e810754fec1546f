#include "kernels/head_gates.h"
#include "simt/heads_case.h"
#include "tests/support.h"

namespace saslm {
namespace {

struct Shape {
  int64_t B, T, H, D;
};

template <class T>
struct Case {
  Shape s;
  HeadRouting routing;
  int64_t z_stride;
  HeadsTwin<T> y, x, dy;  // dy: drawn, then dx
  Twin<T> z;              // drawn, then dz
  Twin<float> aux_loss, load;
  Twin<int32_t> chosen, twin_chosen;

  Case(const Shape& shape, const HeadRouting& r, const Layout& layout = {}, int64_t z_gap = 0)
      : s(shape),
        routing(r),
        z_stride(r.n_logits(s.H) + z_gap),
        y(s.B, s.T, s.H, s.D, layout),
        x(s.B, s.T, s.H, s.D, layout),
        dy(s.B, s.T, s.H, s.D, layout),
        z(N() * z_stride),
        aux_loss(N()),
        load(s.H - r.n_shared),
        chosen(N() * r.top_k),
        twin_chosen(N() * r.top_k) {
    x.draw(1), dy.draw(2), z.draw(3), aux_loss.fill(kStart);
  }
  int64_t N() const { return s.B * s.T; }
  template <class S>
  HeadGatesFwd<S> fwd(S) {
    return {.y = y.template view<S>(),
            .chosen = chosen_of<S>().template vec<int32_t>(),
            .x = x.template view<S>(),
            .z = z.template mat<S>(N(), routing.n_logits(s.H), z_stride),
            .routing = routing};
  }
  template <class S>
  HeadGatesBwd<S> bwd(S) {
    using A = Accum<S>;
    return {.dy = dy.template view<S>(),
            .z = z.template mat<S>(N(), routing.n_logits(s.H), z_stride),
            .aux_loss = aux_loss.template vec<A>(),
            .load = load.template vec<A>(),
            .x = x.template view<S>(),
            .chosen = chosen_of<S>().template vec<int32_t>(),
            .routing = routing,
            .aux_weight = 0.3,
            .scale = 0.7};
  }
  template <class S>
  Twin<int32_t>& chosen_of() {
    return std::is_same_v<S, double> ? twin_chosen : chosen;
  }
  static constexpr double kStart = 0.25;  // what aux_loss was before
};

template <class T>
std::vector<T> values(const Twin<T>& x) {
  return {&x[0], &x[0] + x.size()};
}

template <class T>
void expect_twin(Case<T>& k) {
  const std::vector<T> drawn_dy = values(k.dy.twin), drawn_z = values(k.z);
  cpu::head_gates_fwd<double>({}, k.fwd(double()));
  cpu::head_gates_bwd<double>({}, k.bwd(double()));
  SameBits<T> same_y, same_dx, same_dz;
  SameBits<float> same_aux;
  simt::for_every_schedule([&](Stream stream) {
    std::copy(drawn_dy.begin(), drawn_dy.end(), &k.dy.twin[0]);
    std::copy(drawn_z.begin(), drawn_z.end(), &k.z[0]);
    k.y.poison(), k.chosen.poison(), k.load.poison(), k.aux_loss.restart(k.kStart);
    cuda::head_gates_fwd<T>(stream, k.fwd(T()));
    cuda::head_gates_bwd<T>(stream, k.bwd(T()));
    // One rounding to T of float arithmetic. A softmax: two roundings of an exponential, H sums, a division;
    // a gate: five products and quotients. The gradient of a gate sums D products; that of a logit takes a
    // mean of H of those from it, which leaves a quarter of them or more.
    const double gate = double(k.s.H + 10) * kEpsilon<float>;
    const double gradient = 4 * (gate + double(2 * k.s.D + k.s.H) * kEpsilon<float>);
    for (int64_t i = 0; i < k.chosen.size(); ++i)
      ASSERT_EQ(k.chosen[i], k.twin_chosen[i]) << "chosen[" << i << "]";
    k.load.expect_near(kEpsilon<float>, "load");
    k.y.expect_near(kEpsilon<T> + gate, "y");
    k.dy.expect_near(kEpsilon<T> + gate, "dx");
    k.aux_loss.expect_near(2 * gate, "aux_loss");
    k.z.expect_near(kEpsilon<T> + gradient, "dz");
    same_y.expect(k.y.twin, "y"), same_dx.expect(k.dy.twin, "dx");
    same_dz.expect(k.z, "dz"), same_aux.expect(k.aux_loss, "aux_loss");
  });
}

template <class T>
void equals_twin(const Shape& s, const HeadRouting& r, const Layout& layout = {}, int64_t z_gap = 0) {
  SCOPED_TRACE(testing::Message() << s.B << " " << s.T << " H " << s.H << " D " << s.D << " shared "
                                  << r.n_shared << " k " << r.top_k << " unit " << r.unit_gates << " gap "
                                  << layout.gap);
  Case<T> k(s, r, layout, z_gap);
  expect_twin(k);
}

template <class T>
void equals_twin_on_all_shapes() {
  for (const bool unit : {false, true}) {
    for (const Layout& layout : kLayouts) equals_twin<T>({2, 5, 5, 16}, {2, 2, unit}, layout);
    equals_twin<T>({1, 3, 4, 8}, {0, 3, unit}, {}, 5);
    equals_twin<T>({1, 1, 1, 1}, {0, 1, unit});
    equals_twin<T>({1, 11, 6, 24}, {5, 1, unit});
    equals_twin<T>({1, 2, 3, 264}, {1, 2, unit});  // a row longer than a warp's packs
  }
  equals_twin<T>({1, 2, 70, 9}, {34, 33, true}, {}, 3);  // more of everything than lanes
}
TEST(SimtHeadGates, FloatEqualsTwin) {
  equals_twin_on_all_shapes<float>();
}
TEST(SimtHeadGates, Bf16EqualsTwin) {
  equals_twin_on_all_shapes<bf16>();
}

// A block counts more tokens than it has threads.
TEST(SimtHeadGates, LoadIsTheShareOfManyTokens) {
  Case<float> k({1, 260, 3, 1}, {0, 2, false});
  expect_twin(k);
}

TEST(SimtHeadGates, OfEqualLogitsTheFirstIsChosen) {
  Case<float> k({1, 2, 6, 4}, {1, 3, false});
  const double z[2][8] = {{9, 0, -0.0, 0, -0.0, 0, 1, 2}, {9, -1, 2, -1, 2, -1, 1, 2}};
  for (int64_t i = 0; i < 16; ++i) k.z.set(i, z[i / 8][i % 8]);
  expect_twin(k);
  const int32_t wanted[] = {0, 1, 2, 1, 3, 0};
  for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(k.chosen[i], wanted[i]) << i;
}

TEST(SimtHeadGates, NonFiniteLogitsStillChooseHeads) {
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    Case<bf16> k({1, 1, 5, 4}, {1, 3, false});
    for (int64_t i = 1; i < 5; ++i) k.z[i] = bf16(i % 2 ? bad : 0.0f);
    cuda::head_gates_fwd<bf16>({}, k.fwd(bf16()));
    int chosen = 0;
    for (int64_t j = 0; j < 3; ++j) {
      ASSERT_TRUE(k.chosen[j] >= 0 && k.chosen[j] < 4) << bad;
      chosen |= 1 << k.chosen[j];
    }
    EXPECT_EQ(std::popcount(unsigned(chosen)), 3) << bad;
  }
}

TEST(SimtHeadGates, ForwardNeedsNoPlaceForTheChosen) {
  Case<bf16> k({1, 9, 5, 8}, {2, 2, false});
  cpu::head_gates_fwd<double>({}, k.fwd(double()));
  HeadGatesFwd<bf16> a = k.fwd(bf16());
  a.chosen = {};
  cuda::head_gates_fwd<bf16>({}, a);
  k.y.expect_near(2 * kEpsilon<bf16>, "y");
}

TEST(SimtHeadGates, WrongShapeIsNamed) {
  Case<bf16> k({1, 2, 3, 4}, {1, 1, false});
  HeadGatesFwd<bf16> fwd = k.fwd(bf16());
  fwd.routing.top_k = 3;
  test::expect_shape_error([&] { cuda::head_gates_fwd<bf16>({}, fwd); },
                           {"head_gates_fwd", "top_k", "1 to 2", "3"});
  HeadGatesBwd<bf16> bwd = k.bwd(bf16());
  bwd.load.size = 3;
  test::expect_shape_error([&] { cuda::head_gates_bwd<bf16>({}, bwd); },
                           {"head_gates_bwd", "load", "2", "3"});
}

}  // namespace
}  // namespace saslm
