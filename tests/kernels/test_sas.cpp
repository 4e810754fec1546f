#include "kernels/sas.h"
#include "tests/kernels/sas_case.h"
#include "tests/support.h"

namespace saslm {
namespace {

using namespace test;
using namespace sas_tests;

template <class T>
void expect_plain_formula(const Size& s) {
  SCOPED_TRACE(testing::Message() << s);
  SasCase<T> k(s);
  cpu::sas_fwd<T>({}, k.fwd());
  const double additions =
      double(s.H * s.K + s.Hs * s.K + (s.E ? s.D + s.E : 0) + 6);  // biases, residuals, rope
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t t = 0; t < s.T; ++t) {
      const Lines wanted = plain_token(k, b, t, false), magnitude = plain_token(k, b, t, true);
      for (int64_t h = 0; h < s.Hs; ++h)
        for (int64_t e = 0; e < k.E; ++e)
          ASSERT_NEAR(k.y((b * s.Hs + h) * s.T + t, e), wanted[size_t(h)][size_t(e)],
                      kEps<T> * additions * magnitude[size_t(h)][size_t(e)])
              << "b " << b << " t " << t << " h " << h << " e " << e;
    }
  EXPECT_TRUE(k.y.gaps_untouched());
}

// Sizes of 1, below, at and beyond a vector; fewer tokens than a group, several groups, several partitions.
const Size kRagged[] = {
    {1, 1, 1, 1, 1, 1, 1},          {1, 1, 1, 1, 1, 1, 63},
    {2, 3, 2, 5, 7, 6, 3, true, 4}, {1, 1, 6, 64, 18, 96, 5, true, 30},  // one token of a decoding step
    {1, 7, 3, 17, 5, 18, 5, true},  {3, 6, 4, 16, 12, 32, 7},
    {2, 37, 1, 33, 6, 20, 5, true},                                 // one key head, 74 tokens: two partitions
    {1, 5, 2, 9, 3, 31, 31},        {2, 9, 2, 13, 8, 0, 5},         // convolutions only
    {1, 70, 3, 14, 6, 0, 3, true},  {2, 9, 5, 11, 5, 26, 0, true},  // projections only
    {1, 3, 4, 6, 4, 0, 0, true},                                    // rope only
    {1, 2, 2, 3, 2, 0, 0},                                          // a copy
};

TEST(SasFwd, ConvolutionPadsWithZerosAndReluStaysInTheBranch) {
  SasCase<float> k({1, 1, 1, 3, 1, 0, 3});
  for (int i = 0; i < 3; ++i) {
    k.x[i] = float(i + 1);                    // 1 2 3
    k.w.conv1_w[i] = float(std::pow(10, i));  // 1 10 100
  }
  k.w.conv1_b[0] = -100;
  k.w.conv2_w[0] = 0, k.w.conv2_w[1] = 2, k.w.conv2_w[2] = 1;
  k.w.conv2_b[0] = 5;
  cpu::sas_fwd<float>({}, k.fwd());
  // Z1 = 0+10+200, 1+20+300, 2+30+0, all - 100 = 110, 221, -68; the branch sees 110, 221, 0.
  EXPECT_EQ(k.y[0], 110 + (2 * 110 + 221 + 5));
  EXPECT_EQ(k.y[1], 221 + (2 * 221 + 0 + 5));
  EXPECT_EQ(k.y[2], -68 + 5);
}

TEST(SasFwd, ProjectionsKeepTheNegativePartOutsideTheBranchAndRopeComesLast) {
  SasCase<float> k({1, 1, 1, 2, 1, 2, 0, true, 1});
  k.x[0] = 1, k.x[1] = -2;
  const float proj1[] = {1, 1, 2, 0}, proj2[] = {3, 4, 5, 6};
  for (int i = 0; i < 4; ++i) k.w.proj1_w[i] = proj1[i], k.w.proj2_w[i] = proj2[i];
  k.w.proj1_b[0] = 0.5, k.w.proj1_b[1] = 0;
  k.w.proj2_b[0] = 1, k.w.proj2_b[1] = -1;
  k.cos(1, 0) = 0, k.sin(1, 0) = 1;  // a quarter turn at position 1
  cpu::sas_fwd<float>({}, k.fwd());
  // Z3 = -0.5, 2; the branch sees 0, 2 and adds 4*2 + 1, 6*2 - 1; so 8.5, 13 before the turn.
  EXPECT_EQ(k.y[0], -13);
  EXPECT_EQ(k.y[1], 8.5);
}

TEST(SasFwd, EqualsThePlainFormulaOnRaggedShapes) {
  for (const Size& s : kRagged) {
    expect_plain_formula<float>(s);
    expect_plain_formula<double>(s);
  }
}

TEST(SasFwd, ReluDoesNotHideANan) {
  SasCase<float> k({1, 2, 1, 8, 2, 0, 3});
  k.x[0] = std::nanf("");
  cpu::sas_fwd<float>({}, k.fwd());
  EXPECT_TRUE(std::isnan(k.y[2])) << "conv1 brings it to features 0 and 1, only conv2 to 2";
  EXPECT_FALSE(std::isnan(k.y[3]));
  EXPECT_FALSE(std::isnan(k.y(1, 0))) << "the next token";
}

TEST(SasFwd, ATokenHasTheSameBitsAloneAndAmongOthers) {
  const int64_t T = 37, H = 3, D = 20, Hs = 5, E = 22;
  SasCase<float> all({1, T, H, D, Hs, E, 5, true});
  cpu::sas_fwd<float>({}, all.fwd());
  for (int64_t t : {0, 15, 16, 36}) {
    SasCase<float> one({1, 1, H, D, Hs, E, 5, true, t});
    for (int64_t i = 0; i < H * D; ++i) one.x[i] = all.x(t, i);
    cpu::sas_fwd<float>({}, one.fwd());
    for (int64_t h = 0; h < Hs; ++h)
      for (int64_t e = 0; e < E; ++e) ASSERT_EQ(one.y(h, e), all.y(h * T + t, e)) << "t " << t << " h " << h;
  }
}

TEST(SasBwd, GradientsAreTheSlopesOfForward) {
  const Size sizes[] = {{2, 3, 2, 3, 4, 6, 1, true}, {2, 2, 2, 4, 7, 4, 3, true}, {1, 3, 1, 8, 3, 6, 5, true},
                        {1, 3, 2, 4, 3, 0, 5, true}, {2, 2, 3, 5, 3, 7, 0},       {1, 2, 2, 4, 2, 0, 0, true},
                        {1, 70, 1, 2, 2, 2, 3, true}};
  for (const Size& s : sizes) {
    SCOPED_TRACE(testing::Message() << s);
    SasCase<double> k(s);
    cpu::sas_bwd<double>({}, k.bwd());
    const auto objective = [&] { return k.objective(); };
    expect_slopes("dx", k.dx, k.x, objective);
    const auto gradients = k.dw.present(s), weights = k.w.present(s);
    for (size_t i = 0; i < weights.size(); ++i)
      expect_slopes(weights[i].first, *gradients[i].second, *weights[i].second, objective);
  }
}

// The float gradient of `size` sums, each of at most `additions` terms of random sign: no rounding exceeds
// epsilon times the largest gradient and that many steps.
void expect_rounded(const char* name, Buffer<float>& got, Buffer<double>& wanted, double additions) {
  double largest = 0;
  for (int64_t i = 0; i < wanted.size(); ++i) largest = std::max(largest, std::abs(wanted[i]));
  for (int64_t i = 0; i < wanted.size(); ++i)
    ASSERT_NEAR(got[i], wanted[i], kEps<float> * additions * largest) << name << "[" << i << "]";
}

TEST(SasBwd, FloatEqualsDoubleOnRaggedShapes) {
  for (const Size& s : kRagged) {
    SCOPED_TRACE(testing::Message() << s);
    SasCase<float> k(s);
    SasCase<double> exact(s);
    for (int64_t i = 0; i < k.x.size(); ++i) exact.x[i] = k.x[i];
    for (int64_t i = 0; i < k.dy.size(); ++i) exact.dy[i] = k.dy[i];
    const auto from = k.w.present(s);
    const auto to = exact.w.present(s);
    for (size_t p = 0; p < from.size(); ++p)
      for (int64_t i = 0; i < from[p].second->size(); ++i) (*to[p].second)[i] = (*from[p].second)[i];
    cpu::sas_bwd<float>({}, k.bwd());
    cpu::sas_bwd<double>({}, exact.bwd());

    const double depth = double(2 * (s.H + s.Hs) * s.K + (s.E ? 2 * (s.D + s.E) : 0) + 8);
    expect_rounded("dx", k.dx, exact.dx, depth);
    const auto got = k.dw.present(s);
    const auto wanted = exact.dw.present(s);
    for (size_t p = 0; p < got.size(); ++p) {
      expect_rounded(got[p].first, *got[p].second, *wanted[p].second,
                     depth + double(s.B * s.T * (s.D + s.Hs)));
      EXPECT_TRUE(got[p].second->gaps_untouched()) << got[p].first;
    }
    EXPECT_TRUE(k.dx.gaps_untouched());
    EXPECT_TRUE(k.partial.gaps_untouched());
  }
}

TEST(SasBwd, ParameterGradientsAccumulateAndInputGradientsOverwrite) {
  const Size s{2, 5, 2, 6, 4, 8, 3, true};
  SasCase<double> once(s), twice(s);
  cpu::sas_bwd<double>({}, once.bwd());
  cpu::sas_bwd<double>({}, twice.bwd());
  cpu::sas_bwd<double>({}, twice.bwd());
  EXPECT_TRUE(once.dx.same_bits(twice.dx));
  const auto first = once.dw.present(s), second = twice.dw.present(s);
  for (size_t p = 0; p < first.size(); ++p)
    for (int64_t i = 0; i < first[p].second->size(); ++i)
      EXPECT_EQ((*second[p].second)[i], 2 * (*first[p].second)[i]) << first[p].first;
}

TEST(Sas, TheNumberOfThreadsChangesNoBit) {
  for (const Size& s : {Size{3, 67, 2, 12, 7, 10, 5, true}, Size{3, 67, 2, 12, 7, 0, 3}}) {
    SasCase<float> one(s), two(s);
    for (auto [threads, k] : {std::pair{1, &one}, std::pair{2, &two}})
      with_threads(threads, [k = k] {
        cpu::sas_fwd<float>({}, k->fwd());
        cpu::sas_bwd<float>({}, k->bwd());
      });
    EXPECT_TRUE(one.y.same_bits(two.y));
    EXPECT_TRUE(one.dx.same_bits(two.dx));
    const auto first = one.dw.present(s), second = two.dw.present(s);
    for (size_t p = 0; p < first.size(); ++p)
      EXPECT_TRUE(first[p].second->same_bits(*second[p].second)) << first[p].first;
  }
}

TEST(Sas, NansOfAnEarlierCallLeaveNoTrace) {
  const Size s{1, 5, 2, 6, 4, 8, 5, true};
  SasCase<float> before(s), poison({1, 16, 8, 40, 12, 30, 5}), after(s);
  poison.x.fill(std::nan("")), poison.dy.fill(std::nan(""));
  for (SasCase<float>* k : {&before, &poison, &after})
    with_threads(1, [k] {
      cpu::sas_fwd<float>({}, k->fwd());
      cpu::sas_bwd<float>({}, k->bwd());
    });
  EXPECT_TRUE(before.y.same_bits(after.y));
  EXPECT_TRUE(before.dx.same_bits(after.dx));
  const auto first = before.dw.present(s), second = after.dw.present(s);
  for (size_t p = 0; p < first.size(); ++p)
    EXPECT_TRUE(first[p].second->same_bits(*second[p].second)) << first[p].first;
}

TEST(Sas, AWrongShapeIsNamed) {
  SasCase<float> k({2, 3, 2, 4, 6, 8, 3, true});
  const auto refused = [](auto op, auto&& spoil, const std::vector<std::string>& words) {
    spoil(op);
    expect_shape_error([&] { op.check(); }, words);
  };
  EXPECT_NO_THROW(k.fwd().check());
  EXPECT_NO_THROW(k.bwd().check());
  refused(k.fwd(), [](auto& a) { a.x.data = nullptr; }, {"sas_fwd", "x ", "absent"});
  refused(k.fwd(), [](auto& a) { a.x.B = a.y.B = 0; }, {"x ", "(0, 3, 2, 4)", "below 1"});
  refused(k.fwd(), [](auto& a) { a.y.T = 4; }, {"y ", "(2, 3, 6, 8)", "(2, 4, 6, 8)"});
  refused(k.fwd(), [](auto& a) { a.w.kernel_size = 4; }, {"w", "kernel_size", "odd", "4"});
  refused(k.fwd(), [](auto& a) { a.w.kernel_size = 65; }, {"w", "kernel_size", "63", "65"});
  refused(k.fwd(), [](auto& a) { a.w.conv1_w.cols = 5; }, {"w: conv1_w", "(6, 6)", "(6, 5)"});
  refused(k.fwd(), [](auto& a) { a.w.conv2_w.stride = 5; }, {"w: conv2_w", "stride", "18", "5"});
  refused(k.fwd(), [](auto& a) { a.w.conv2_b = {}; }, {"w: conv2_b", "absent"});
  refused(k.fwd(), [](auto& a) { a.w.conv1_w = {}, a.y.H = 2; }, {"w: conv1_b", "absent", "conv1_w"});
  refused(k.fwd(), [](auto& a) { a.w.proj1_w = {}, a.y.D = 4, a.rope = {}; }, {"w: proj1_b", "absent"});
  refused(k.fwd(), [](auto& a) { a.w.proj1_w.rows = 7; }, {"w: proj1_w", "(8, 4)", "(7, 4)"});
  refused(k.fwd(), [](auto& a) { a.w.proj2_b.size = 7; }, {"w: proj2_b", "8", "7"});
  refused(k.fwd(), [](auto& a) { a.start = -1; }, {"start", "0", "-1"});
  refused(k.fwd(), [](auto& a) { a.start = 1; }, {"rope.cos", "(4, 4)", "(3, 4)"});
  refused(k.fwd(), [](auto& a) { a.rope.sin.cols = 3; }, {"rope.sin", "(3, 4)", "(3, 3)"});
  refused(k.bwd(), [](auto& a) { a.dx.H = 3; }, {"sas_bwd", "dx", "(2, 3, 2, 4)", "(2, 3, 3, 4)"});
  refused(k.bwd(), [](auto& a) { a.dy.B = 1; }, {"dy", "(2, 3, 6, 8)", "(1, 3, 6, 8)"});
  refused(k.bwd(), [](auto& a) { a.dw.proj1_w = {}; }, {"dw: proj1_w", "absent"});
  refused(k.bwd(), [](auto& a) { a.dw.conv2_w.cols = 1; }, {"dw: conv2_w", "(6, 18)", "(6, 1)"});
  refused(k.bwd(), [](auto& a) { a.partial.size -= 1; }, {"partial", std::to_string(k.partial.size() - 1)});

  SasCase<float> bare({1, 2, 3, 4, 3, 0, 0});
  refused(bare.fwd(), [](auto& a) { a.y.H = 5; }, {"y ", "(1, 2, 3, 4)", "(1, 2, 5, 4)"});
  refused(bare.fwd(), [](auto& a) { a.y.D = 5; }, {"y ", "(1, 2, 3, 4)", "(1, 2, 3, 5)"});
  SasCase<float> odd({1, 2, 3, 5, 3, 0, 0, true});
  refused(odd.fwd(), [](auto&) {}, {"y ", "even", "5"});
}

}  // namespace
}  // namespace saslm
