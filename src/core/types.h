// Storage and accumulation types. T stores activations and weights; sums, parameter gradients, master weights
// and moments use Accum<T>.
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
