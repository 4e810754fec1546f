// Storage and accumulation types. T is what activations and weights are stored in;
// Accum<T> is what sums, gradients of parameters, master weights and moments use.
#pragma once

namespace saslm {

template <class T>
struct AccumOf {
  using type = float;
};
template <>
struct AccumOf<double> {  // verification on the CPU
  using type = double;
};
template <class T>
using Accum = typename AccumOf<T>::type;

}  // namespace saslm
