// Heads copied to several: keys that all heads share (MLA's rotated part), or, with as many heads on both
// sides, a plain copy between buffers of different strides.
//
//   fwd   y[h]  = x[h / (H/G)]
//   bwd   dx[g] = sum of dy[h] over the H/G heads h that read g
//
// Shapes   y, dy (B, T, H, D); x, dx (B, T, G, D); G divides H. Any strides with contiguous features.
// Writes   y, dx are set (=).
// Repeats  Bit for bit: heads are summed in their order.
// Errors   ShapeError before any work.
#pragma once
#include "core/stream.h"
#include "core/view.h"

namespace saslm {

template <class T>
struct RepeatHeadsFwd {
  Heads<T> y;        // out (B, T, H, D)
  Heads<const T> x;  // in  (B, T, G, D)
  void check() const;
};

template <class T>
struct RepeatHeadsBwd {
  Heads<T> dx;        // out (B, T, G, D)
  Heads<const T> dy;  // in  (B, T, H, D)
  void check() const;
};

namespace cpu {
template <class T>
void repeat_heads_fwd(Stream, const RepeatHeadsFwd<T>&);
template <class T>
void repeat_heads_bwd(Stream, const RepeatHeadsBwd<T>&);
}  // namespace cpu
namespace cuda {
template <class T>
void repeat_heads_fwd(Stream, const RepeatHeadsFwd<T>&);
template <class T>
void repeat_heads_bwd(Stream, const RepeatHeadsBwd<T>&);
}  // namespace cuda

}  // namespace saslm
