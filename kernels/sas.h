// SAS simulation: widen heads and features of q, k or v, token by token (Zheng et al., "SAS: Simulated
// Attention Score", arXiv 2507.07694). Heads are channels, a head's features are the line.
//
//   Z1 = conv1(x)                        H -> Hs channels, K taps, stride 1, zero padding (K-1)/2     [Hs, D]
//   Z2 = Z1 + conv2(relu(Z1))            Hs -> Hs                                                    [Hs, D]
//   Z3 = Z2 proj1^T + b                                                                              [Hs, E]
//   y  = rope(Z3 + relu(Z3) proj2^T + b)                                                             [Hs, E]
//
// Either half may be absent: no convs -> Hs = H and Z2 = x; no projections -> E = D and y = rope(Z2).
// A convolution here is a cross-correlation: out[p] = sum_j w[j] in[p + j - (K-1)/2].
//
// Shapes   x (B, T, H, D), y (B, T, Hs, E), any strides with contiguous features.
// Types    T storage; parameters' gradients in Accum<T>.
// Writes   y and dx are set (=). Parameter gradients are accumulated (+=).
// Repeats  Bit for bit: tokens are split into a fixed number of partitions, summed in order.
// Memory   Z1..Z3 are recomputed in backward, never stored beyond a few tokens.
// Errors   ShapeError before any work.
#pragma once
#include "core/stream.h"
#include "core/types.h"
#include "core/view.h"
#include "kernels/rope.h"

namespace saslm {

// Weights (S = const T) or their gradients (S = Accum<T>). Absent halves have null views.
template <class S>
struct SasParams {
  int64_t kernel_size = 0;  // K, odd
  Mat<S> conv1_w;           // (Hs, H*K)   row-major [Hs, H, K]
  Vec<S> conv1_b;           // (Hs)
  Mat<S> conv2_w;           // (Hs, Hs*K)  row-major [Hs, Hs, K]
  Vec<S> conv2_b;           // (Hs)
  Mat<S> proj1_w;           // (E, D)
  Vec<S> proj1_b;           // (E)
  Mat<S> proj2_w;           // (E, E)
  Vec<S> proj2_b;           // (E)
};

template <class T>
struct SasFwd {
  Heads<T> y;               // out (B, T, Hs, E)
  Heads<const T> x;         // in  (B, T, H, D)
  SasParams<const T> w;     // in
  RopeTable<const T> rope;  // in, or absent
  int64_t start = 0;        // position of the first row of every sequence
  void check() const;
};

// Training only: start = 0.
template <class T>
struct SasBwd {
  Heads<T> dx;              // out (B, T, H, D)   =
  SasParams<Accum<T>> dw;   // out                +=
  Heads<const T> dy;        // in  (B, T, Hs, E)
  Heads<const T> x;         // in  (B, T, H, D)
  SasParams<const T> w;     // in
  RopeTable<const T> rope;  // in, or absent
  Vec<Accum<T>> partial;    // scratch (sas_bwd_scratch(...)) elements
  void check() const;
};

// The sizes that kernels, partitions and scratch follow from.
struct SasShape {
  int64_t tokens = 0;  // B*T
  int64_t H = 0, D = 0, Hs = 0, E = 0, K = 0;
  bool convs = true, projections = true;
};
template <class X, class Y, class S>
SasShape sas_shape(const Heads<X>& x, const Heads<Y>& y, const SasParams<S>& w) {
  return {.tokens = x.B * x.T,
          .H = x.H,
          .D = x.D,
          .Hs = y.H,
          .E = y.D,
          .K = w.kernel_size,
          .convs = bool(w.conv1_w),
          .projections = bool(w.proj1_w)};
}
// Elements of SasBwd::partial, enough for every device: a function of the shape alone, never of the number of
// threads.
int64_t sas_bwd_scratch(const SasShape& shape);

namespace cpu {
template <class T>
void sas_fwd(Stream, const SasFwd<T>&);
template <class T>
void sas_bwd(Stream, const SasBwd<T>&);
}  // namespace cpu

namespace cuda {
template <class T>
void sas_fwd(Stream, const SasFwd<T>&);
template <class T>
void sas_bwd(Stream, const SasBwd<T>&);
}  // namespace cuda

}  // namespace saslm
