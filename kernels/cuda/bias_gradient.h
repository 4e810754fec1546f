// dbias[c] += sum over n of dy[n][c], in a fixed order: the part of a linear layer's backward that is no
// product.
#pragma once
#include "core/stream.h"
#include "core/view.h"

namespace saslm::cuda {

template <class T>
void add_bias_gradient(Stream, Vec<float> dbias, Mat<const T> dy);

}  // namespace saslm::cuda
