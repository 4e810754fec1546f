#include "kernels/repeat_heads.h"

#include "core/bf16.h"
#include "kernels/shape_check.h"

namespace saslm {
namespace {

template <class X, class Y>
void check_ends(const ShapeCheck& c, const char* few_name, const Heads<X>& few, const char* many_name,
                const Heads<Y>& many) {
  c.heads(many_name, many, many.B, many.T, many.H, many.D);
  c.heads(few_name, few, many.B, many.T, few.H, many.D);
  if (many.H % few.H != 0)
    c.fail(few_name,
           "have a divisor of " + std::to_string(many.H) + " as its heads, has " + std::to_string(few.H));
}

}  // namespace

template <class T>
void RepeatHeadsFwd<T>::check() const {
  check_ends(ShapeCheck("repeat_heads_fwd"), "x", x, "y", y);
}

template <class T>
void RepeatHeadsBwd<T>::check() const {
  check_ends(ShapeCheck("repeat_heads_bwd"), "dx", dx, "dy", dy);
}

template struct RepeatHeadsFwd<float>;
template struct RepeatHeadsFwd<double>;
template struct RepeatHeadsFwd<bf16>;
template struct RepeatHeadsBwd<float>;
template struct RepeatHeadsBwd<double>;
template struct RepeatHeadsBwd<bf16>;

}  // namespace saslm
