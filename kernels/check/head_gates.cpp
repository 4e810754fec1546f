#include "kernels/head_gates.h"

#include "core/bf16.h"
#include "kernels/shape_check.h"

namespace saslm {
namespace {

void check_routing(const ShapeCheck& c, const HeadRouting& r, int64_t H) {
  if (r.n_shared < 0 || r.n_shared >= H)
    c.fail("n_shared", "be from 0 to " + std::to_string(H - 1) + ", is " + std::to_string(r.n_shared));
  if (r.top_k < 1 || r.top_k > H - r.n_shared)
    c.fail("top_k", "be from 1 to " + std::to_string(H - r.n_shared) + ", is " + std::to_string(r.top_k));
}

}  // namespace

template <class T>
void HeadGatesFwd<T>::check() const {
  const ShapeCheck c("head_gates_fwd");
  c.heads("y", y, y.B, y.T, y.H, y.D);
  c.heads("x", x, y.B, y.T, y.H, y.D);
  check_routing(c, routing, y.H);
  c.mat("z", z, y.B * y.T, routing.n_logits(y.H));
  c.vec_or_absent("chosen", chosen, y.B * y.T * routing.top_k);
}

template <class T>
void HeadGatesBwd<T>::check() const {
  const ShapeCheck c("head_gates_bwd");
  c.heads("dy", dy, dy.B, dy.T, dy.H, dy.D);
  c.heads("x", x, dy.B, dy.T, dy.H, dy.D);
  check_routing(c, routing, dy.H);
  c.mat("z", z, dy.B * dy.T, routing.n_logits(dy.H));
  c.vec("chosen", chosen, dy.B * dy.T * routing.top_k);
  c.vec("aux_loss", aux_loss, dy.B * dy.T);
  c.vec("load", load, dy.H - routing.n_shared);
}

template struct HeadGatesFwd<float>;
template struct HeadGatesFwd<double>;
template struct HeadGatesFwd<bf16>;
template struct HeadGatesBwd<float>;
template struct HeadGatesBwd<double>;
template struct HeadGatesBwd<bf16>;

}  // namespace saslm
