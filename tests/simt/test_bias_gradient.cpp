// kernels/cuda/bias_gradient.cu against the plain sum.
#include "kernels/cuda/bias_gradient.h"
#include "tests/simt/twin.h"

namespace saslm {
namespace {

template <class T>
void is_the_sum_of_columns(int64_t rows, int64_t cols, int64_t stride) {
  Twin<T> dy(rows * stride);
  Twin<float> dbias(cols);
  dy.draw(1);
  for (int64_t c = 0; c < cols; ++c) {
    dbias.twin(c) = 0.25;
    for (int64_t r = 0; r < rows; ++r) dbias.twin(c) += dy.twin(r * stride + c);
  }
  simt::for_every_schedule([&](Stream stream) {
    dbias.restart(0.25);
    cuda::add_bias_gradient<T>(stream, dbias.template vec<float>(), dy.template mat<T>(rows, cols, stride));
    dbias.expect_near(double(rows) * kEpsilon<float>, "dbias");  // fp32 additions, one a row
  });
}

TEST(SimtBiasGradient, AddsTheSumOfEveryColumn) {
  for (const int64_t rows : {1, 7, 16, 100})
    for (const int64_t cols : {1, 31, 32, 77}) {
      is_the_sum_of_columns<float>(rows, cols, cols);
      is_the_sum_of_columns<bf16>(rows, cols, cols + 3);
    }
}

}  // namespace
}  // namespace saslm
