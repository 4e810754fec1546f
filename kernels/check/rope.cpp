#include "kernels/rope.h"

#include "core/bf16.h"
#include "kernels/shape_check.h"

namespace saslm {

template <class T>
void RopeFill<T>::check() const {
  const ShapeCheck c("rope_fill");
  c.mat("table.cos", table.cos, table.cos.rows, table.cos.cols);
  c.mat("table.sin", table.sin, table.cos.rows, table.cos.cols);
}

template <class T>
void Rope<T>::check() const {
  const ShapeCheck c("rope");
  c.present("x", bool(x));
  if (x.D % 2 != 0) c.fail("x", "have an even width, has " + std::to_string(x.D));
  c.mat("table.cos", table.cos, table.cos.rows, x.D / 2);
  c.mat("table.sin", table.sin, table.cos.rows, x.D / 2);
  if (start < 0 || start + x.T > table.cos.rows)
    c.fail("table", "have start + T = " + std::to_string(start + x.T) + " rows, has " +
                        std::to_string(table.cos.rows));
}

template struct RopeFill<float>;
template struct RopeFill<double>;
template struct RopeFill<bf16>;
template struct Rope<float>;
template struct Rope<double>;
template struct Rope<bf16>;

}  // namespace saslm
