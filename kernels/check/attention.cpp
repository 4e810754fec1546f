#include "kernels/attention.h"

#include <cmath>
#include <string>

#include "core/bf16.h"
#include "kernels/cuda/attention_bwd_schedule.h"
#include "kernels/shape_check.h"

namespace saslm {
namespace {

void check_divides(const ShapeCheck& want, const char* part, int64_t count, const char* whole, int64_t of) {
  if (count < 1 || of % count != 0)
    want.fail(part,
              "divide " + std::string(whole) + " = " + std::to_string(of) + ", is " + std::to_string(count));
}

void check_mask(const ShapeCheck& want, const AttentionMask& mask, int64_t B, int64_t positions) {
  if (mask.window < 1) want.fail("mask.window", "be at least 1, is " + std::to_string(mask.window));
  if (positions > AttentionMask::kUnlimited)
    want.fail("k", "have at most 2^30 positions, has " + std::to_string(positions));
  if (!mask.first_of && !mask.last_of) return;
  want.mat("mask.first_of", mask.first_of, B, positions);
  want.mat("mask.last_of", mask.last_of, B, positions);
}

// What forward and backward ask alike: q is free in its sizes, k in its heads, v in its heads and width.
template <class A>
void check_operands(const ShapeCheck& want, const A& a, int64_t start) {
  const int64_t B = a.q.B, T = a.q.T, H = a.q.H;
  if (start < 0) want.fail("start", "be at least 0, is " + std::to_string(start));
  want.heads("q", a.q, B, T, H, a.q.D);
  want.heads("k", a.k, B, start + T, a.k.H, a.q.D);
  want.heads("v", a.v, B, start + T, a.v.H, a.v.D);
  want.heads("o", a.o, B, T, H, a.v.D);
  check_divides(want, "k.H", a.k.H, "q.H", H);
  if (a.v_modulo != 0) check_divides(want, "v_modulo", a.v_modulo, "q.H", H);
  check_divides(want, "v.H", a.v.H, a.v_modulo ? "v_modulo" : "q.H", a.v_modulo ? a.v_modulo : H);
  want.vec("lse", a.lse, B * H * T);
  if (!(std::isfinite(a.scale) && a.scale > 0))
    want.fail("scale", "be a positive number, as a rule 1/sqrt(E), is " + std::to_string(a.scale));
  check_mask(want, a.mask, B, start + T);
}

}  // namespace

template <class T>
void AttentionFwd<T>::check() const {
  const ShapeCheck want("attention_fwd");
  check_operands(want, *this, start);
  if (!y) return;
  want.heads("y", y, q.B, q.T, y.H, v.D);
  check_divides(want, "y.H", y.H, "q.H", q.H);
}

template <class T>
void AttentionBwd<T>::check() const {
  const ShapeCheck want("attention_bwd");
  check_operands(want, *this, 0);
  want.heads("dq", dq, q.B, q.T, q.H, q.D);
  want.heads("dk", dk, k.B, k.T, k.H, k.D);
  want.heads("dv", dv, v.B, v.T, v.H, v.D);
  want.heads("dy", dy, q.B, q.T, dy.H, v.D);
  check_divides(want, "dy.H", dy.H, "q.H", q.H);
}

template <class T>
int64_t attention_bwd_scratch(const AttentionShape& shape) {
  const AttentionBwdSchedule schedule(shape);
  if constexpr (std::is_same_v<T, bf16>)
    return schedule.scratch_floats();
  else if constexpr (std::is_same_v<T, float>)
    return schedule.statistics_floats();
  else
    return 0;
}

template struct AttentionFwd<bf16>;
template struct AttentionFwd<float>;
template struct AttentionFwd<double>;
template struct AttentionBwd<bf16>;
template struct AttentionBwd<float>;
template struct AttentionBwd<double>;
template int64_t attention_bwd_scratch<bf16>(const AttentionShape&);
template int64_t attention_bwd_scratch<float>(const AttentionShape&);
template int64_t attention_bwd_scratch<double>(const AttentionShape&);

}  // namespace saslm
