// Linear layers: weights are (out, in), row-major.
//
//   fwd   y  = x w^T (+ bias) (+ residual)
//   bwd   dx (= | +=) dy w          dw += dy^T x          dbias += column sums of dy
//
// Shapes   x (N, in), y (N, out), w (out, in), bias (out). Rows may be strided; y may be residual's buffer.
// Writes   as above. dx, dw and dbias are absent where they are not needed.
// Repeats  Bit for bit for one shape, whatever the number of threads: the tiling is a function of the shape.
// Errors   ShapeError before any work.
#pragma once
#include "core/stream.h"
#include "core/types.h"
#include "core/view.h"

namespace saslm {

template <class T>
struct MatmulFwd {
  Mat<T> y;               // out (N, out)   =
  Mat<const T> x;         // in  (N, in)
  Mat<const T> w;         // in  (out, in)
  Vec<const T> bias;      // in  (out), or absent
  Mat<const T> residual;  // in  (N, out), or absent
  void check() const;
};

template <class T>
struct MatmulBwd {
  Mat<T> dx;  // out (N, in)    = or +=, or absent
  bool dx_accumulate = false;
  Mat<Accum<T>> dw;     // out (out, in)  +=, or absent
  Vec<Accum<T>> dbias;  // out (out)      +=, or absent
  Mat<const T> dy;      // in  (N, out)
  Mat<const T> x;       // in  (N, in)
  Mat<const T> w;       // in  (out, in)
  void check() const;
};

namespace cpu {
template <class T>
void matmul_fwd(Stream, const MatmulFwd<T>&);
template <class T>
void matmul_bwd(Stream, const MatmulBwd<T>&);
}  // namespace cpu
namespace cuda {
template <class T>
void matmul_fwd(Stream, const MatmulFwd<T>&);
template <class T>
void matmul_bwd(Stream, const MatmulBwd<T>&);
}  // namespace cuda

}  // namespace saslm
