// The base kernels are right and raise no alarm, under every schedule.
#include <cmath>
#include <random>
#include <vector>

#include "simt/base/base.h"
#include "simt/support.h"

namespace saslm::simt {
namespace {

std::vector<bf16> random_values(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<bf16> v(count);
  for (bf16& x : v) x = bf16(normal(random));
  return v;
}

TEST(SimtBase, LayerNormIsItsFormula) {
  const int rows = 3, C = 200;
  const auto x = random_values(rows * C, 1), w = random_values(C, 2), b = random_values(C, 3);
  for_every_schedule([&](Stream stream) {
    std::vector<bf16> y(rows * C, bf16(NAN));
    layernorm(stream, mat(y.data(), rows, C), mat(x.data(), rows, C), {w.data(), C}, {b.data(), C}, 1e-5f);
    for (int r = 0; r < rows; ++r) {
      double mean = 0, var = 0;
      for (int c = 0; c < C; ++c) mean += float(x[r * C + c]) / double(C);
      for (int c = 0; c < C; ++c) var += std::pow(float(x[r * C + c]) - mean, 2) / C;
      for (int c = 0; c < C; ++c) {
        const double want = (float(x[r * C + c]) - mean) / std::sqrt(var + 1e-5) * float(w[c]) + float(b[c]);
        ASSERT_NEAR(float(y[r * C + c]), want, 0x1p-8 * (1 + std::abs(want)))
            << r << ", " << c;  // bf16 rounds by 2^-9
      }
    }
  });
}

void is_the_product(void (*multiply)(Stream, Mat<float>, Mat<const bf16>, Mat<const bf16>), int K) {
  const int M = 128, N = 64;
  const auto a = random_values(M * K, 1), b = random_values(N * K, 2);
  std::vector<double> want(M * N);
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n)
      for (int k = 0; k < K; ++k) want[m * N + n] += double(float(a[m * K + k])) * float(b[n * K + k]);
  for_every_schedule([&](Stream stream) {
    std::vector<float> c(M * N, NAN);
    multiply(stream, mat(c.data(), M, N), mat(a.data(), M, K), mat(b.data(), N, K));
    for (size_t i = 0; i < c.size(); ++i)
      ASSERT_NEAR(c[i], want[i], 1e-4) << i;  // float sums, exact products
  });
}
TEST(SimtBase, GemmIsTheProduct) {
  is_the_product(gemm, 160);  // more steps than stages
}
TEST(SimtBase, GemmOnSm90IsTheProduct) {
  is_the_product(gemm_sm90, 320);
}

TEST(SimtBase, FlashIsCausalAttention) {
  const int heads = 2, T = 150, D = 64;
  const float scale = 0.125f;
  const auto q = random_values(heads * T * D, 1), k = random_values(heads * T * D, 2),
             v = random_values(heads * T * D, 3);
  std::vector<double> want(heads * T * D);
  for (int h = 0; h < heads; ++h)
    for (int i = 0; i < T; ++i) {
      const auto at = [&](const std::vector<bf16>& x, int t, int d) {
        return double(float(x[(h * T + t) * D + d]));
      };
      double sum = 0;
      for (int j = 0; j <= i; ++j) {
        double s = 0;
        for (int d = 0; d < D; ++d) s += at(q, i, d) * at(k, j, d);
        const double p = std::exp(s * scale);
        sum += p;
        for (int d = 0; d < D; ++d) want[(h * T + i) * D + d] += p * at(v, j, d);
      }
      for (int d = 0; d < D; ++d) want[(h * T + i) * D + d] /= sum;
    }
  for_every_schedule([&](Stream stream) {
    std::vector<bf16> o(heads * T * D, bf16(NAN));
    flash(stream, o.data(), q.data(), k.data(), v.data(), heads, T, scale);
    for (size_t i = 0; i < o.size(); ++i)  // probabilities and results are bf16; |v| reaches 4
      ASSERT_NEAR(float(o[i]), want[i], 2e-2) << i;
  });
}

}  // namespace
}  // namespace saslm::simt
