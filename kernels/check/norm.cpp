#include "kernels/norm.h"

#include <algorithm>

#include "core/bf16.h"
#include "core/dims.h"
#include "kernels/shape_check.h"

namespace saslm {

template <class T>
void NormFwd<T>::check() const {
  const ShapeCheck c("norm_fwd");
  c.mat("x", x, x.rows, x.cols);
  c.mat("y", y, x.rows, x.cols);
  c.vec("rstd", rstd, x.rows);
  c.vec("w", w, x.cols);
  if (bool(b) != bool(mean)) c.fail("b and mean", "both be given (layernorm) or both be absent (rmsnorm)");
  c.vec_or_absent("b", b, x.cols);
  c.vec_or_absent("mean", mean, x.rows);
}

template <class T>
void NormBwd<T>::check() const {
  const ShapeCheck c("norm_bwd");
  c.mat("x", x, x.rows, x.cols);
  c.mat("dx", dx, x.rows, x.cols);
  c.mat("dy", dy, x.rows, x.cols);
  c.vec("dw", dw, x.cols);
  c.vec("w", w, x.cols);
  c.vec("rstd", rstd, x.rows);
  if (bool(db) != bool(mean)) c.fail("db and mean", "both be given (layernorm) or both be absent (rmsnorm)");
  c.vec_or_absent("db", db, x.cols);
  c.vec_or_absent("mean", mean, x.rows);
  c.mat("partial", partial, norm_bwd_partials(x.rows), 2 * x.cols);
}

// One per 32 rows keeps the scratch and the second sum small beside x; 396 are three blocks on each SM of an
// H200.
int64_t norm_bwd_partials(int64_t rows) {
  return std::min<int64_t>(ceil_div(rows, 32), 396);
}

template struct NormFwd<float>;
template struct NormFwd<double>;
template struct NormFwd<bf16>;
template struct NormBwd<float>;
template struct NormBwd<double>;
template struct NormBwd<bf16>;

}  // namespace saslm
