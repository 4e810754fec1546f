// cuBLASLt's part on the SIMT layer: the contract of kernels/matmul.h in plain loops, summed in double and
// rounded once.
#include "core/bf16.h"
#include "kernels/matmul.h"

namespace saslm::cuda {
namespace {

template <class To, class Term>
void product(Mat<To> d, bool accumulate, int64_t k, Term term) {
  for (int64_t r = 0; r < d.rows; ++r)
    for (int64_t c = 0; c < d.cols; ++c) {
      double sum = accumulate ? double(float(d[r][c])) : 0;
      for (int64_t i = 0; i < k; ++i) sum += term(r, c, i);
      d[r][c] = To(float(sum));
    }
}

template <class T>
double at(Mat<const T> m, int64_t r, int64_t c) {
  return float(m[r][c]);
}

}  // namespace

template <class T>
void matmul_fwd(Stream, const MatmulFwd<T>& a) {
  a.check();
  product(a.y, false, a.x.cols + 1, [&](int64_t n, int64_t o, int64_t i) {
    if (i < a.x.cols) return at(a.x, n, i) * at(a.w, o, i);
    return (a.bias ? double(float(a.bias[o])) : 0) + (a.residual ? at(a.residual, n, o) : 0);
  });
}

template <class T>
void matmul_bwd(Stream, const MatmulBwd<T>& a) {
  a.check();
  if (a.dx)
    product(a.dx, a.dx_accumulate, a.dy.cols,
            [&](int64_t n, int64_t i, int64_t o) { return at(a.dy, n, o) * at(a.w, o, i); });
  if (a.dw)
    product(a.dw, true, a.dy.rows,
            [&](int64_t o, int64_t i, int64_t n) { return at(a.dy, n, o) * at(a.x, n, i); });
  if (a.dbias)
    product(Mat<float>{a.dbias.data, 1, a.dbias.size, a.dbias.size}, true, a.dy.rows,
            [&](int64_t, int64_t o, int64_t n) { return at(a.dy, n, o); });
}

template void matmul_fwd(Stream, const MatmulFwd<float>&);
template void matmul_fwd(Stream, const MatmulFwd<bf16>&);
template void matmul_bwd(Stream, const MatmulBwd<float>&);
template void matmul_bwd(Stream, const MatmulBwd<bf16>&);

}  // namespace saslm::cuda
