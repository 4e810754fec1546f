// Helpers of the check() methods of the kernels' arguments. A message names operation, view, and the sizes
// wanted and got: "norm_fwd: y must be (4, 8), is (4, 7)".
#pragma once
#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/view.h"

namespace saslm {

class ShapeCheck {
 public:
  explicit ShapeCheck(const char* op) : op_(op) {}

  template <class T>
  void mat(const char* name, const Mat<T>& view, int64_t rows, int64_t cols) const {
    present(name, bool(view) || rows * cols == 0);
    if (view.rows != rows || view.cols != cols)
      fail(name, "be (" + pair(rows, cols) + "), is (" + pair(view.rows, view.cols) + ")");
    if (view.stride < cols)
      fail(name,
           "have a stride of at least " + std::to_string(cols) + ", has " + std::to_string(view.stride));
  }
  template <class T>
  void vec(const char* name, const Vec<T>& view, int64_t size) const {
    present(name, bool(view) || size == 0);
    if (view.size != size)
      fail(name, "have " + std::to_string(size) + " elements, has " + std::to_string(view.size));
  }
  template <class X>
  void heads(const char* name, const Heads<X>& view, int64_t B, int64_t T, int64_t H, int64_t D) const {
    present(name, bool(view));
    if (view.B != B || view.T != T || view.H != H || view.D != D || std::min({B, T, H, D}) < 1)
      fail(name,
           "be " + sizes(B, T, H, D) + " with no size below 1, is " + sizes(view.B, view.T, view.H, view.D));
  }
  template <class T>
  void mat_or_absent(const char* name, const Mat<T>& view, int64_t rows, int64_t cols) const {
    if (view) mat(name, view, rows, cols);
  }
  template <class T>
  void vec_or_absent(const char* name, const Vec<T>& view, int64_t size) const {
    if (view) vec(name, view, size);
  }
  void present(const char* name, bool is_present) const {
    if (!is_present) fail(name, "be given, is absent");
  }
  // "<op>: <name> must <what>". The caller tests first, so that a message is built only for an error.
  [[noreturn]] void fail(const char* name, const std::string& what) const {
    throw ShapeError(std::string(op_) + ": " + name + " must " + what);
  }

 private:
  static std::string pair(int64_t a, int64_t b) { return std::to_string(a) + ", " + std::to_string(b); }

  static std::string sizes(int64_t B, int64_t T, int64_t H, int64_t D) {
    return "(" + pair(B, T) + ", " + pair(H, D) + ")";
  }

  const char* op_;
};

}  // namespace saslm
