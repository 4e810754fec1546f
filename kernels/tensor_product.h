// Heads as sums of R products of a factor over heads and a factor over features, token by token (Zhang et
// al., "Tensor Product Attention Is All You Need", arXiv 2501.06425, eq. (3.1)).
//
//   fwd   y[h]    = (1/R) sum_r a[r,h] b[r]
//   bwd   da[r,h] = (1/R) dy[h] . b[r]           db[r] = (1/R) sum_h a[r,h] dy[h]
//
// Shapes   y, dy (B, T, H, D); a, da (B, T, R, H); b, db (B, T, R, D). Any strides with contiguous rows.
// Writes   y, da, db are set (=).
// Repeats  Bit for bit: a token's sums do not depend on the others.
// Errors   ShapeError before any work.
// Cost     R H D multiply-adds a token forward, twice that backward: less than the linears before it, and
//          less time than writing y when R is small.
#pragma once
#include "core/stream.h"
#include "core/view.h"

namespace saslm {

template <class T>
struct TensorProductFwd {
  Heads<T> y;           // out (B, T, H, D)
  Heads<const T> a, b;  // in  (B, T, R, H), (B, T, R, D)
  void check() const;
};

template <class T>
struct TensorProductBwd {
  Heads<T> da, db;      // out (B, T, R, H), (B, T, R, D)
  Heads<const T> dy;    // in  (B, T, H, D)
  Heads<const T> a, b;  // in  as forward
  void check() const;
};

namespace cpu {
template <class T>
void tensor_product_fwd(Stream, const TensorProductFwd<T>&);
template <class T>
void tensor_product_bwd(Stream, const TensorProductBwd<T>&);
}  // namespace cpu
namespace cuda {
template <class T>
void tensor_product_fwd(Stream, const TensorProductFwd<T>&);
template <class T>
void tensor_product_bwd(Stream, const TensorProductBwd<T>&);
}  // namespace cuda

}  // namespace saslm
