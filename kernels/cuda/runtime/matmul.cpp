// Contract: kernels/matmul.h. Meaning: kernels/cpu/matmul.cpp.
//
// Every product is one call of cuBLASLt (gemm.h), which sees our row-major (rows, cols) as column-major
// (cols, rows). Residual, accumulation and bias ride along with the product, in fp32 until the one rounding.
#include "kernels/matmul.h"

#include "core/bf16.h"
#include "kernels/cuda/bias_gradient.h"
#include "kernels/cuda/runtime/queue_state.h"

namespace saslm::cuda {
namespace {

template <class T>
constexpr cudaDataType_t kType = std::is_same_v<T, bf16> ? CUDA_R_16BF : CUDA_R_32F;

}  // namespace

template <class T>
void matmul_fwd(Stream stream, const MatmulFwd<T>& a) {
  a.check();
  if (a.x.rows == 0) return;
  QueueState& queue = queue_state(stream);
  // y^T (out, N) = (w^T)^T (out, in) x^T (in, N)
  queue.gemm.run(queue.stream, {.m = a.w.rows,
                                .n = a.x.rows,
                                .k = a.x.cols,
                                .a_transposed = true,
                                .ab_type = kType<T>,
                                .cd_type = kType<T>,
                                .a = a.w.data,
                                .b = a.x.data,
                                .c = a.residual.data,
                                .d = a.y.data,
                                .bias = a.bias.data,
                                .lda = a.w.stride,
                                .ldb = a.x.stride,
                                .ldc = a.residual.stride,
                                .ldd = a.y.stride});
}

template <class T>
void matmul_bwd(Stream stream, const MatmulBwd<T>& a) {
  a.check();
  if (a.dy.rows == 0) return;
  QueueState& queue = queue_state(stream);
  if (a.dx)  // dx^T (in, N) = w^T (in, out) dy^T (out, N)
    queue.gemm.run(queue.stream, {.m = a.dx.cols,
                                  .n = a.dx.rows,
                                  .k = a.dy.cols,
                                  .ab_type = kType<T>,
                                  .cd_type = kType<T>,
                                  .a = a.w.data,
                                  .b = a.dy.data,
                                  .c = a.dx_accumulate ? a.dx.data : nullptr,
                                  .d = a.dx.data,
                                  .lda = a.w.stride,
                                  .ldb = a.dy.stride,
                                  .ldc = a.dx.stride,
                                  .ldd = a.dx.stride});
  if (a.dw)  // dw^T (in, out) += x^T (in, N) (dy^T)^T (N, out)
    queue.gemm.run(queue.stream, {.m = a.dw.cols,
                                  .n = a.dw.rows,
                                  .k = a.dy.rows,
                                  .b_transposed = true,
                                  .ab_type = kType<T>,
                                  .cd_type = CUDA_R_32F,
                                  .a = a.x.data,
                                  .b = a.dy.data,
                                  .c = a.dw.data,
                                  .d = a.dw.data,
                                  .lda = a.x.stride,
                                  .ldb = a.dy.stride,
                                  .ldc = a.dw.stride,
                                  .ldd = a.dw.stride});
  if (a.dbias) add_bias_gradient(stream, a.dbias, a.dy);
}

template void matmul_fwd(Stream, const MatmulFwd<float>&);
template void matmul_fwd(Stream, const MatmulFwd<bf16>&);
template void matmul_bwd(Stream, const MatmulBwd<float>&);
template void matmul_bwd(Stream, const MatmulBwd<bf16>&);

}  // namespace saslm::cuda
