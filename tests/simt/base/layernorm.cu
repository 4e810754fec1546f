// One block a row; columns are a multiple of 8.
#include "kernels/simt/simt.h"
#include "simt/base/base.h"
#include "simt/base/block_sum.h"

namespace saslm::simt {
namespace {

constexpr int kThreads = 64;

struct alignas(16) Eight {
  bf16 x[8];
};

__global__ void __launch_bounds__(kThreads)
    layernorm_kernel(Mat<bf16> y, Mat<const bf16> x, Vec<const bf16> w, Vec<const bf16> b, float eps) {
  SIMT_SHARED(float[kThreads / kWarp], partial);
  const bf16* row = x[blockIdx.x];
  const int C = int(x.cols), first = int(threadIdx.x) * 8;

  float sum = 0;
  for (int c = first; c < C; c += kThreads * 8) {
    const Eight in = ldv<Eight>(row + c);
    SIMT_UNROLL
    for (int i = 0; i < 8; ++i) sum += float(in.x[i]);
  }
  const float mean = block_sum<kThreads>(sum, partial) / float(C);

  float squares = 0;
  for (int c = first; c < C; c += kThreads * 8) {
    const Eight in = ldv<Eight>(row + c);
    SIMT_UNROLL
    for (int i = 0; i < 8; ++i) squares += (float(in.x[i]) - mean) * (float(in.x[i]) - mean);
  }
  const float scale = rsqrt_approx(block_sum<kThreads>(squares, partial) / float(C) + eps);

  for (int c = first; c < C; c += kThreads * 8) {
    const Eight in = ldv<Eight>(row + c), weight = ldv<Eight>(&w[c]), bias = ldv<Eight>(&b[c]);
    Eight out;
    SIMT_UNROLL
    for (int i = 0; i < 8; ++i)
      out.x[i] = bf16((float(in.x[i]) - mean) * scale * float(weight.x[i]) + float(bias.x[i]));
    stv(y[blockIdx.x] + c, out);
  }
}

}  // namespace

void layernorm(Stream stream, Mat<bf16> y, Mat<const bf16> x, Vec<const bf16> w, Vec<const bf16> b,
               float eps) {
  launch(layernorm_kernel, x.rows, kThreads, 0, stream, y, x, w, b, eps);
}

}  // namespace saslm::simt
