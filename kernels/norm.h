// Row normalisation before attention and mlp.
//
//   rmsnorm    r = 1/sqrt(mean(x^2) + eps)          y = x r w              Zhang & Sennrich 2019, eq. (4)
//   layernorm  r = 1/sqrt(mean((x-m)^2) + eps)      y = (x - m) r w + b    Ba et al. 2016, eq. (4)
//
// The kind follows from the views: a bias and a mean make it a layernorm.
//
// Shapes   N rows, C channels.
// Writes   y, mean, rstd are set (=). dx, dw, db are accumulated (+=): dx is the residual stream's gradient,
//          to which the branch's share is added.
// Repeats  Bit for bit: dw and db are summed over fixed chunks of rows, then over chunks in order.
// Errors   ShapeError before any work.
#pragma once
#include "core/stream.h"
#include "core/types.h"
#include "core/view.h"

namespace saslm {

template <class T>
struct NormFwd {
  Mat<T> y;            // out (N, C)
  Vec<Accum<T>> rstd;  // out (N)   kept for backward
  Vec<Accum<T>> mean;  // out (N)   layernorm only
  Mat<const T> x;      // in  (N, C)
  Vec<const T> w;      // in  (C)
  Vec<const T> b;      // in  (C)   layernorm only
  double eps = 0;      // joins a mean square, so in units of x^2
  void check() const;
};

template <class T>
struct NormBwd {
  Mat<T> dx;                 // in/out (N, C)  +=
  Vec<Accum<T>> dw;          // out (C)        +=
  Vec<Accum<T>> db;          // out (C)        +=, layernorm only
  Mat<const T> dy, x;        // in  (N, C)
  Vec<const T> w;            // in  (C)
  Vec<const Accum<T>> rstd;  // in  (N)        from forward
  Vec<const Accum<T>> mean;  // in  (N)        layernorm only
  Mat<Accum<T>> partial;     // scratch (norm_bwd_partials(N), 2C)
  void check() const;
};

// Rows of scratch that norm_bwd asks for: a function of the shape alone.
int64_t norm_bwd_partials(int64_t rows);

namespace cpu {
template <class T>
void norm_fwd(Stream, const NormFwd<T>&);
template <class T>
void norm_bwd(Stream, const NormBwd<T>&);
}  // namespace cpu
namespace cuda {
template <class T>
void norm_fwd(Stream, const NormFwd<T>&);
template <class T>
void norm_bwd(Stream, const NormBwd<T>&);
}  // namespace cuda

}  // namespace saslm
