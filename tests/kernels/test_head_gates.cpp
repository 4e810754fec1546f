#include "kernels/head_gates.h"
#include "tests/support.h"

namespace saslm {
namespace {

using test::Buffer;

// Every tensor the operation touches; rows lie `gap` apart.
template <class T>
struct HeadGatesCase {
  int64_t B, T_, H, D;
  HeadRouting routing;
  double aux_weight = 0.3, scale = 0.7;
  Buffer<T> y, x, dy, z;
  Buffer<Accum<T>> aux_loss, load;
  Buffer<int32_t> chosen;

  HeadGatesCase(int64_t B_, int64_t t, int64_t h, int64_t d, const HeadRouting& r, int64_t gap = 0)
      : B(B_),
        T_(t),
        H(h),
        D(d),
        routing(r),
        y(B_ * t * h, d, gap),
        x(B_ * t * h, d, gap),
        dy(B_ * t * h, d, gap),
        z(B_ * t, r.n_logits(h), gap),
        aux_loss(B_ * t),
        load(h - r.n_shared),
        chosen(B_ * t * r.top_k) {
    x.fill_normal("x"), dy.fill_normal("dy"), z.fill_normal("z"), aux_loss.fill(0);
  }
  int64_t N() const { return B * T_; }
  int64_t routed() const { return H - routing.n_shared; }
  Heads<T> view(Buffer<T>& buffer) const {
    const int64_t row = buffer.mat().stride;
    return {buffer.data(), B, T_, H, D, T_ * H * row, H * row, row};
  }
  HeadGatesFwd<T> fwd_args() {
    return {.y = view(y), .chosen = chosen.vec(), .x = view(x), .z = z.mat(), .routing = routing};
  }
  HeadGatesBwd<T> bwd_args() {
    return {.dy = view(dy),
            .z = z.mat(),
            .aux_loss = aux_loss.vec(),
            .load = load.vec(),
            .x = view(x),
            .chosen = chosen.vec(),
            .routing = routing,
            .aux_weight = aux_weight,
            .scale = scale};
  }
  void fwd() { cpu::head_gates_fwd<T>({}, fwd_args()); }
  void bwd() { cpu::head_gates_bwd<T>({}, bwd_args()); }
};

// The formulas of head_gates.h in double, from the logits alone.
struct Reference {
  std::vector<double> gate, routed;  // (N, H), (N, H - S): g and p
  std::vector<bool> in_use;          // (N, H - S)
  std::vector<double> load;          // (H - S)

  template <class T>
  explicit Reference(HeadGatesCase<T>& k) : load(size_t(k.routed())) {
    const int64_t S = k.routing.n_shared, R = k.routed(), top_k = k.routing.top_k;
    for (int64_t n = 0; n < k.N(); ++n) {
      const auto softmax = [&](int64_t first, int64_t count) {
        std::vector<double> p;
        double sum = 0;
        for (int64_t i = 0; i < count; ++i) p.push_back(std::exp(double(k.z(n, first + i))));
        for (const double e : p) sum += e;
        for (double& e : p) e /= sum;
        return p;
      };
      const auto shared = softmax(0, S), p = softmax(S, R);
      const auto kinds = S > 0 ? softmax(k.H, 2) : std::vector<double>{0, 1};
      double sum = 0;
      for (int64_t i = 0; i < R; ++i) {
        int64_t before = 0;  // heads that are chosen rather
        for (int64_t j = 0; j < R; ++j)
          before += k.z(n, S + j) > k.z(n, S + i) || (k.z(n, S + j) == k.z(n, S + i) && j < i);
        in_use.push_back(before < top_k);
        if (before >= top_k) continue;
        sum += p[size_t(i)];
        load[size_t(i)] += 1.0 / double(k.N());
      }
      const bool unit = k.routing.unit_gates;
      for (const double s : shared) gate.push_back(kinds[0] * s * (unit ? 2 * double(S) : 1));
      for (int64_t i = 0; i < R; ++i)
        gate.push_back(!in_use[size_t(n * R + i)] ? 0
                       : !unit                    ? kinds[1] * p[size_t(i)]
                               : kinds[1] * p[size_t(i)] / sum * double(top_k) * (S > 0 ? 2 : 1));
      routed.insert(routed.end(), p.begin(), p.end());
    }
  }
  double balance(int64_t n) const {  // b_n
    double b = 0;
    for (size_t i = 0; i < load.size(); ++i) b += load[i] * routed[size_t(n) * load.size() + i];
    return b;
  }
};

std::vector<HeadRouting> routings(int64_t H) {
  std::vector<HeadRouting> all;
  for (const bool unit : {false, true})
    for (const int64_t S : {int64_t(0), int64_t(1), H / 2})
      for (const int64_t k : {int64_t(1), (H - S + 1) / 2, H - S})
        if (S < H) all.push_back({S, k, unit});
  return all;
}

TEST(HeadGates, OneTokenByHand) {
  HeadGatesCase<float> k(1, 1, 4, 1, {.n_shared = 1, .top_k = 2});
  const double p[] = {0.25, 0.5, 0.25, 1.0 / 3, 2.0 / 3};  // the last of the routed heads ties with the first
  k.z[0] = 5;                                              // one shared head: its share is 1
  for (int64_t i = 0; i < 5; ++i) k.z[1 + i] = float(std::log(p[i]));
  k.x.fill(12);
  k.fwd();
  const double y[] = {4, 2, 4, 0};
  for (int64_t i = 0; i < 4; ++i) EXPECT_NEAR(k.y[i], y[i], 1e-5) << i;
  EXPECT_EQ(k.chosen[0], 1);
  EXPECT_EQ(k.chosen[1], 0);

  k.routing.unit_gates = true;
  k.fwd();
  const double unit[] = {12 * 2 / 3.0, 12 * 2 * 2 / 9.0 * 2, 12 * 2 * 4 / 9.0 * 2, 0};
  for (int64_t i = 0; i < 4; ++i) EXPECT_NEAR(k.y[i], unit[i], 1e-5) << i;
  k.bwd();
  EXPECT_EQ(k.load[0], 1);
  EXPECT_EQ(k.load[1], 1);
  EXPECT_EQ(k.load[2], 0);
  EXPECT_NEAR(k.aux_loss[0], 0.3 * 0.75, 1e-6);
}

TEST(HeadGates, OfEqualLogitsTheFirstAreChosenAndUnitGatesAreOne) {
  HeadGatesCase<float> k(2, 3, 7, 5, {.n_shared = 2, .top_k = 3, .unit_gates = true});
  k.z.fill(-4);
  k.fwd();
  for (int64_t n = 0; n < k.N(); ++n)
    for (int64_t j = 0; j < 3; ++j) EXPECT_EQ(k.chosen[n * 3 + j], j);
  for (int64_t i = 0; i < k.y.size(); ++i) {
    const float gate = i / 5 % 7 < 5 ? 1 : 0;
    EXPECT_FLOAT_EQ(k.y[i], gate * k.x[i]) << i;
  }
}

template <class T>
void equals_formula(int64_t H, int64_t D, const HeadRouting& routing, int64_t gap) {
  SCOPED_TRACE(testing::Message() << "H " << H << " D " << D << " S " << routing.n_shared << " k "
                                  << routing.top_k << " unit " << routing.unit_gates << " gap " << gap);
  HeadGatesCase<T> k(2, 9, H, D, routing, gap);
  k.aux_loss.fill(1);
  const Reference want(k);
  Buffer<T> dy = k.dy;
  k.fwd();
  k.bwd();
  // A gate, at most 2 H, has a softmax of H terms behind it: some 2 H roundings of a value below 5 times it.
  const double tolerance = 2 * test::kEps<T> * 5 * double(2 * H) * double(2 * H);
  for (int64_t row = 0; row < k.N() * H; ++row)
    for (int64_t d = 0; d < D; ++d) {
      ASSERT_NEAR(k.y(row, d), want.gate[size_t(row)] * double(k.x(row, d)), tolerance);
      ASSERT_NEAR(k.dy(row, d), want.gate[size_t(row)] * double(dy(row, d)), tolerance);
    }
  for (int64_t i = 0; i < k.routed(); ++i)
    ASSERT_NEAR(k.load[i], want.load[size_t(i)], test::kEps<T> + 1e-15 * double(k.N()));
  for (int64_t n = 0; n < k.N(); ++n)
    ASSERT_NEAR(k.aux_loss[n], 1 + k.aux_weight * want.balance(n), tolerance);
  for (int64_t i = 0; i < k.z.size(); ++i) ASSERT_FALSE(std::isnan(k.z[i]));
  EXPECT_TRUE(k.y.gaps_untouched() && k.dy.gaps_untouched() && k.z.gaps_untouched());
}
TEST(HeadGates, EqualTheFormulaForAllShapes) {
  for (const int64_t H : {1, 2, 5, 16, 34})
    for (const int64_t D : {1, 10, 16, 64})
      for (const int64_t gap : {0, 3})
        for (const HeadRouting& routing : routings(H)) {
          equals_formula<float>(H, D, routing, gap);
          equals_formula<double>(H, D, routing, gap);
        }
}

// Loads are constants of backward. A draw whose k-th and next logits are 1e-5 apart would show here as a
// wrong slope.
TEST(HeadGates, BackwardIsTheSlopeOfForwardAndOfTheBalanceLoss) {
  for (const HeadRouting& routing : routings(6)) {
    SCOPED_TRACE(testing::Message() << "S " << routing.n_shared << " k " << routing.top_k << " unit "
                                    << routing.unit_gates);
    HeadGatesCase<double> k(2, 3, 6, 5, routing), gradients = k;
    gradients.fwd();
    gradients.bwd();
    const auto objective = [&] {
      k.fwd();
      const Reference at(k);
      double sum = 0;
      for (int64_t i = 0; i < k.y.size(); ++i) sum += k.y[i] * k.dy[i];
      for (int64_t n = 0; n < k.N(); ++n) sum += k.scale * k.aux_weight * at.balance(n);
      return sum;
    };
    test::expect_slopes("dx", gradients.dy, k.x, objective);
    test::expect_slopes("dz", gradients.z, k.z, objective);
  }
}

TEST(HeadGates, SameBitsWithOneAndTwoThreads) {
  const auto run = [] {
    HeadGatesCase<float> k(2, 40, 13, 20, {.n_shared = 4, .top_k = 3});
    k.fwd();
    k.bwd();
    return k;
  };
  HeadGatesCase<float> one = test::with_threads(1, run), two = test::with_threads(2, run);
  EXPECT_TRUE(one.y.same_bits(two.y) && one.dy.same_bits(two.dy) && one.z.same_bits(two.z) &&
              one.aux_loss.same_bits(two.aux_loss) && one.load.same_bits(two.load));
}

TEST(HeadGates, LogitsThatAreNotNumbersChooseHeadsAllTheSame) {
  HeadGatesCase<float> k(1, 1, 4, 3, {.n_shared = 0, .top_k = 4});
  k.z.fill(NAN);
  k.fwd();
  k.bwd();
  for (int64_t j = 0; j < 4; ++j) EXPECT_EQ(k.chosen[j], j);
  EXPECT_TRUE(std::isnan(k.y[0]) && std::isnan(k.aux_loss[0]));
}

TEST(HeadGates, WrongShapesAreNamed) {
  HeadGatesCase<float> k(1, 2, 4, 5, {.n_shared = 1, .top_k = 2});
  const auto fwd = [&](auto change) {
    HeadGatesFwd<float> args = k.fwd_args();
    change(args);
    cpu::head_gates_fwd<float>({}, args);
  };
  test::expect_shape_error([&] { fwd([](auto& a) { a.routing.n_shared = 4; }); },
                           {"head_gates_fwd: n_shared", "from 0 to 3", "4"});
  test::expect_shape_error([&] { fwd([](auto& a) { a.routing.top_k = 4; }); },
                           {"head_gates_fwd: top_k", "from 1 to 3", "4"});
  test::expect_shape_error([&] { fwd([](auto& a) { a.routing.n_shared = 0; }); },
                           {"head_gates_fwd: z", "(2, 4)", "(2, 6)"});
  test::expect_shape_error([&] { fwd([](auto& a) { a.chosen.size = 3; }); },
                           {"head_gates_fwd: chosen", "4 elements", "3"});
  const auto bwd = [&](auto change) {
    HeadGatesBwd<float> args = k.bwd_args();
    change(args);
    cpu::head_gates_bwd<float>({}, args);
  };
  test::expect_shape_error([&] { bwd([](auto& a) { a.x.H = 3; }); }, {"head_gates_bwd: x"});
  test::expect_shape_error([&] { bwd([](auto& a) { a.load = {}; }); }, {"head_gates_bwd: load", "absent"});
  test::expect_shape_error([&] { bwd([](auto& a) { a.aux_loss.size = 1; }); }, {"head_gates_bwd: aux_loss"});
}

}  // namespace
}  // namespace saslm
