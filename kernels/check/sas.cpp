#include "kernels/sas.h"

#include <algorithm>
#include <string>

#include "core/bf16.h"
#include "kernels/cpu/sas_partitions.h"
#include "kernels/cuda/sas_partitions.h"
#include "kernels/shape_check.h"

namespace saslm {
namespace {

// x is free in its sizes, y in those that a present half sets.
template <class X, class Y>
void check_ends(const ShapeCheck& want, const char* y_name, const Heads<X>& x, const Heads<Y>& y,
                const SasShape& s) {
  want.heads("x", x, x.B, x.T, x.H, x.D);
  want.heads(y_name, y, x.B, x.T, s.convs ? s.Hs : s.H, s.projections ? s.E : s.D);
}

// Each half is whole or absent, and what is there fits the shape.
template <class S>
void check_params(const ShapeCheck& want, const SasParams<S>& p, const SasShape& s) {
  if (s.convs) {
    if (s.K < 1 || s.K > 63 || s.K % 2 == 0)
      want.fail("kernel_size", "be an odd number from 1 to 63, is " + std::to_string(s.K));
    want.mat("conv1_w", p.conv1_w, s.Hs, s.H * s.K);
    want.vec("conv1_b", p.conv1_b, s.Hs);
    want.mat("conv2_w", p.conv2_w, s.Hs, s.Hs * s.K);
    want.vec("conv2_b", p.conv2_b, s.Hs);
  } else if (p.conv1_w || p.conv1_b || p.conv2_w || p.conv2_b) {
    want.fail("conv1_b, conv2_w and conv2_b", "be absent, as w.conv1_w is");
  }
  if (s.projections) {
    want.mat("proj1_w", p.proj1_w, s.E, s.D);
    want.vec("proj1_b", p.proj1_b, s.E);
    want.mat("proj2_w", p.proj2_w, s.E, s.E);
    want.vec("proj2_b", p.proj2_b, s.E);
  } else if (p.proj1_w || p.proj1_b || p.proj2_w || p.proj2_b) {
    want.fail("proj1_b, proj2_w and proj2_b", "be absent, as w.proj1_w is");
  }
}

template <class T>
void check_rope(const ShapeCheck& want, const RopeTable<const T>& rope, int64_t E, int64_t positions) {
  if (!rope) return;
  if (E % 2 != 0) want.fail("y", "have rows of an even size to be turned in pairs, has " + std::to_string(E));
  want.mat("rope.cos", rope.cos, std::max(rope.cos.rows, positions), E / 2);
  want.mat("rope.sin", rope.sin, std::max(rope.sin.rows, positions), E / 2);
}

}  // namespace

template <class T>
void SasFwd<T>::check() const {
  const ShapeCheck want("sas_fwd");
  const SasShape s = sas_shape(x, y, w);
  check_ends(want, "y", x, y, s);
  check_params(ShapeCheck("sas_fwd: w"), w, s);
  if (start < 0) want.fail("start", "be at least 0, is " + std::to_string(start));
  check_rope(want, rope, y.D, start + y.T);
}

template <class T>
void SasBwd<T>::check() const {
  const ShapeCheck want("sas_bwd");
  const SasShape s = sas_shape(x, dy, w);
  check_ends(want, "dy", x, dy, s);
  want.heads("dx", dx, x.B, x.T, x.H, x.D);
  check_params(ShapeCheck("sas_bwd: w"), w, s);
  check_params(ShapeCheck("sas_bwd: dw"), dw, s);
  check_rope(want, rope, dy.D, dy.T);
  want.vec("partial", partial, std::max(partial.size, sas_bwd_scratch(s)));
}

int64_t sas_bwd_scratch(const SasShape& shape) {
  return std::max(cpu::sas_bwd_scratch(shape), cuda::sas_bwd_scratch(shape));
}

template struct SasFwd<bf16>;
template struct SasFwd<float>;
template struct SasFwd<double>;
template struct SasBwd<bf16>;
template struct SasBwd<float>;
template struct SasBwd<double>;

}  // namespace saslm
