// The mlp's middle, element by element.
//
//   swiglu  y = silu(gate) * up          silu(g) = g / (1 + e^-g)                   Shazeer 2020
//   gelu    y = gelu(up), tanh form: u/2 (1 + tanh(sqrt(2/pi) (u + 0.044715 u^3)))   Hendrycks & Gimpel 2016
//   relu2   y = relu(up)^2                                                           So et al. 2021
//
// Shapes   all (N, F); gate only for swiglu.
// Writes   y, dgate, dup are set (=). dgate may be gate's buffer and dup up's: each element is read before it
//          is written.
// Errors   ShapeError before any work.
#pragma once
#include "core/stream.h"
#include "core/view.h"

namespace saslm {

enum class Activation { swiglu, gelu, relu2 };

template <class T>
struct ActivationFwd {
  Activation kind = Activation::swiglu;
  Mat<T> y;               // out
  Mat<const T> gate, up;  // in
  void check() const;
};

template <class T>
struct ActivationBwd {
  Activation kind = Activation::swiglu;
  Mat<T> dgate, dup;      // out
  Mat<const T> dy;        // in
  Mat<const T> gate, up;  // in
  void check() const;
};

namespace cpu {
template <class T>
void activation_fwd(Stream, const ActivationFwd<T>&);
template <class T>
void activation_bwd(Stream, const ActivationBwd<T>&);
}  // namespace cpu
namespace cuda {
template <class T>
void activation_fwd(Stream, const ActivationFwd<T>&);
template <class T>
void activation_bwd(Stream, const ActivationBwd<T>&);
}  // namespace cuda

}  // namespace saslm
