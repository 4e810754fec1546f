#include "kernels/cross_entropy.h"

#include <cmath>

#include "core/bf16.h"
#include "kernels/shape_check.h"

namespace saslm {

template <class T>
void CrossEntropy<T>::check() const {
  const ShapeCheck c("cross_entropy");
  c.mat("logits", logits, logits.rows, logits.cols);
  if (logits.cols <= 0) c.fail("logits", "have at least one column, has 0");
  if (pad < 0 || pad >= logits.cols)
    c.fail("pad",
           "leave columns of the logits' " + std::to_string(logits.cols) + ", is " + std::to_string(pad));
  c.vec("targets", targets, logits.rows);
  c.vec("loss", loss, logits.rows);
  const auto check_number = [&](const char* name, double value) {
    if (!(value >= 0) || std::isinf(value))
      c.fail(name, "be finite and at least 0, is " + std::to_string(value));
  };
  check_number("softcap", softcap);
  check_number("z_weight", z_weight);
  if (z_weight != 0) c.vec("aux_loss", aux_loss, logits.rows);
}

template struct CrossEntropy<float>;
template struct CrossEntropy<double>;
template struct CrossEntropy<bf16>;

}  // namespace saslm
