#include "kernels/head_embedding.h"

#include <algorithm>

#include "core/bf16.h"
#include "core/dims.h"
#include "kernels/shape_check.h"

namespace saslm {

template <class T>
void HeadEmbeddingFwd<T>::check() const {
  const ShapeCheck c("head_embedding_fwd");
  c.heads("y", y, y.B, y.T, y.H, y.D);
  c.heads("x", x, y.B, y.T, 1, y.D);
  c.mat("e", e, y.H, y.D);
}

template <class T>
void HeadEmbeddingBwd<T>::check() const {
  const ShapeCheck c("head_embedding_bwd");
  c.heads("dy", dy, dy.B, dy.T, dy.H, dy.D);
  c.heads("dx", dx, dy.B, dy.T, 1, dy.D);
  c.heads("x", x, dy.B, dy.T, 1, dy.D);
  c.mat("e", e, dy.H, dy.D);
  c.mat("de", de, dy.H, dy.D);
  c.mat("partial", partial, head_embedding_bwd_partials(dy.B * dy.T), dy.H * dy.D);
}

// One per 32 tokens keeps the scratch and the second sum small beside dy; 264 are two blocks on each SM of an
// H200.
int64_t head_embedding_bwd_partials(int64_t tokens) {
  return std::min<int64_t>(ceil_div(tokens, 32), 264);
}

template struct HeadEmbeddingFwd<float>;
template struct HeadEmbeddingFwd<double>;
template struct HeadEmbeddingFwd<bf16>;
template struct HeadEmbeddingBwd<float>;
template struct HeadEmbeddingBwd<double>;
template struct HeadEmbeddingBwd<bf16>;

}  // namespace saslm
