// Contract: kernels/cuda/bias_gradient.h.
#include "kernels/cuda/bias_gradient.h"
#include "kernels/cuda/device.cuh"

namespace saslm::cuda {

template <class T>
void add_bias_gradient(Stream stream, Vec<float> dbias, Mat<const T> dy) {
  add_column_sums(stream, dbias, dy);
}

template void add_bias_gradient(Stream, Vec<float>, Mat<const float>);
template void add_bias_gradient(Stream, Vec<float>, Mat<const bf16>);

}  // namespace saslm::cuda
