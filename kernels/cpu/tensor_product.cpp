// Contract: kernels/tensor_product.h. A token's factors and heads are a few KiB: everything but the first
// read and the last write happens in L1. Rows whose width is no multiple of a vector pass through padded
// copies.
#include "kernels/tensor_product.h"

#include <algorithm>

#include "core/dims.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile_gemm.h"

namespace saslm::cpu {
namespace {

// The rows of one token. A constant one is T = const X.
template <class T>
Mat<T> rows_of(const Heads<T>& x, int64_t b, int64_t t) {
  return {x.at(b, t, 0), x.H, x.D, x.h_stride};
}

// Buffers for one token's padded copies; the factor of a head is scaled by 1/R as it is copied.
template <class T>
class Token {
 public:
  Token(int64_t R, int64_t H, int64_t D)
      : width_(round_up(D, kLanes<T>)),
        scaled_(thread_scratch<T, Token>(R * H + 2 * (R + H) * width_)),
        few_(scaled_ + R * H),
        many_(few_ + R * width_),
        result_(many_ + H * width_) {}

  int64_t width() const { return width_; }

  // a / R, contiguous.
  const T* scaled(Mat<const T> a) const {
    const T factor = T(1) / T(a.rows);
    for (int64_t r = 0; r < a.rows; ++r)
      each_vector<T>(
          a.cols, [&](int64_t h, auto n) { store(scaled_ + r * a.cols + h, load(a[r] + h, n) * factor, n); });
    return scaled_;
  }
  Mat<const T> few(Mat<const T> rows) const { return padded(rows, few_); }
  Mat<const T> many(Mat<const T> rows) const { return padded(rows, many_); }

  // Where a product of `rows` is written before it is copied to its place.
  Mat<T> target(Mat<T> rows) const { return whole(rows) ? rows : mat(result_, rows.rows, width_); }
  void finish(Mat<T> rows, Mat<T> written) const {
    if (rows.data == written.data) return;
    for (int64_t r = 0; r < rows.rows; ++r) std::copy_n(written[r], rows.cols, rows[r]);
  }

 private:
  template <class X>
  static bool whole(Mat<X> rows) {
    return rows.cols % kLanes<T> == 0;
  }
  Mat<const T> padded(Mat<const T> rows, T* copy) const {
    if (whole(rows)) return rows;
    for (int64_t r = 0; r < rows.rows; ++r) {
      std::copy_n(rows[r], rows.cols, copy + r * width_);
      std::fill(copy + r * width_ + rows.cols, copy + (r + 1) * width_, T(0));
    }
    return mat<const T>(copy, rows.rows, width_);
  }

  int64_t width_;
  T *scaled_, *few_, *many_, *result_;
};

// da[r][h] = dy[h] . b[r] / R for kLanes heads from `first` on: each lane sum is a row, which a transposition
// makes a lane.
template <class T>
void dot_products(Mat<T> da, Mat<const T> dy, Mat<const T> b, int64_t first) {
  constexpr int64_t W = kLanes<T>;
  const int64_t count = std::min(W, dy.rows - first);
  for (int64_t r = 0; r < b.rows; ++r) {
    Simd<T> products[W] = {};
    for (int64_t i = 0; i < count; ++i) {
      const T *const dy_h = dy[first + i], *const b_r = b[r];
      for (int64_t d = 0; d < b.cols; d += W) products[i] += load(dy_h + d) * load(b_r + d);
    }
    transpose<T>(products);
    for (int64_t width = W / 2; width > 0; width /= 2)
      for (int64_t i = 0; i < width; ++i) products[i] += products[i + width];
    store(da[r] + first, products[0] * (T(1) / T(b.rows)), count);
  }
}

}  // namespace

template <class T>
void tensor_product_fwd(Stream, const TensorProductFwd<T>& x) {
  x.check();
  const int64_t R = x.a.H, H = x.y.H;
  each_token(x.y.B, x.y.T, [&](int64_t n, int64_t t) {
    const Token<T> token(R, H, x.y.D);
    const Mat<const T> b = token.few(rows_of(x.b, n, t));
    const Mat<T> y = rows_of(x.y, n, t), target = token.target(y);
    tile_gemm<T>({.M = H,
                  .N = token.width(),
                  .outer = R,
                  .a = token.scaled(rows_of(x.a, n, t)),
                  .a_m = 1,
                  .a_outer = H,
                  .b = b.data,
                  .b_outer = b.stride,
                  .c = target.data,
                  .c_m = target.stride});
    token.finish(y, target);
  });
}

template <class T>
void tensor_product_bwd(Stream, const TensorProductBwd<T>& x) {
  x.check();
  const int64_t R = x.a.H, H = x.dy.H;
  each_token(x.dy.B, x.dy.T, [&](int64_t n, int64_t t) {
    const Token<T> token(R, H, x.dy.D);
    const Mat<const T> dy = token.many(rows_of(x.dy, n, t)), b = token.few(rows_of(x.b, n, t));
    const Mat<T> db = rows_of(x.db, n, t), target = token.target(db);
    tile_gemm<T>({.M = R,
                  .N = token.width(),
                  .outer = H,
                  .a = token.scaled(rows_of(x.a, n, t)),
                  .a_m = H,
                  .a_outer = 1,
                  .b = dy.data,
                  .b_outer = dy.stride,
                  .c = target.data,
                  .c_m = target.stride});
    token.finish(db, target);
    for (int64_t h = 0; h < H; h += kLanes<T>) dot_products(rows_of(x.da, n, t), dy, b, h);
  });
}

template void tensor_product_fwd(Stream, const TensorProductFwd<float>&);
template void tensor_product_fwd(Stream, const TensorProductFwd<double>&);
template void tensor_product_bwd(Stream, const TensorProductBwd<float>&);
template void tensor_product_bwd(Stream, const TensorProductBwd<double>&);

}  // namespace saslm::cpu
