// Contract: kernels/matmul.h. The product is cut into tiles by its shape alone; each tile is one sequential
// call of the library (float: oneDNN, inside our parallel region it starts no threads) or of tile_gemm
// (double).
#include "kernels/matmul.h"

#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <string>

#include "core/dims.h"
#include "core/error.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile_gemm.h"

namespace saslm::cpu {

namespace {

// C (M, N) += A (M, K) op(B), row-major; op(B) is (K, N), stored as (N, K) when transposed.
template <class T>
struct Product {
  int64_t M = 0, N = 0, K = 0;
  const T* a = nullptr;
  int64_t a_stride = 0;
  const T* b = nullptr;
  int64_t b_stride = 0;
  bool b_transposed = false;
  T* c = nullptr;
  int64_t c_stride = 0;
  bool accumulate = false;  // false: C is set (=)
};

// Inside a team of several threads the library runs on one thread, but in a team of one it would plan for
// omp_get_max_threads() threads, and give a wrong result where OMP_THREAD_LIMIT then denies it those. The
// setting here is this task's own and ends with the parallel region.
void multiply(const Product<float>& p) {
  omp_set_num_threads(1);
  const dnnl_status_t status = dnnl_sgemm('N', p.b_transposed ? 'T' : 'N', p.M, p.N, p.K, 1, p.a, p.a_stride,
                                          p.b, p.b_stride, p.accumulate ? 1 : 0, p.c, p.c_stride);
  if (status != dnnl_success)
    throw MachineError("dnnl_sgemm failed with status " + std::to_string(status) +
                       (status == dnnl_out_of_memory ? " (out of memory)" : ""));
}

// B and C go through buffers padded to whole vectors.
void multiply(const Product<double>& p) {
  const int64_t width = round_up(p.N, kLanes<double>);
  double* const b = thread_scratch<double, struct PackedB>(p.K * width);
  double* const c = thread_scratch<double, struct PackedC>(p.M * width);
  std::fill(b, b + p.K * width, 0.0);
  for (int64_t k = 0; k < p.K; ++k)
    for (int64_t n = 0; n < p.N; ++n)
      b[k * width + n] = p.b_transposed ? p.b[n * p.b_stride + k] : p.b[k * p.b_stride + n];
  tile_gemm<double>({.M = p.M,
                     .N = width,
                     .outer = p.K,
                     .a = p.a,
                     .a_m = p.a_stride,
                     .a_outer = 1,
                     .b = b,
                     .b_outer = width,
                     .c = c,
                     .c_m = width});
  for (int64_t m = 0; m < p.M; ++m)
    for (int64_t n = 0; n < p.N; ++n) {
      double& sum = p.c[m * p.c_stride + n];
      sum = p.accumulate ? sum + c[m * width + n] : c[m * width + n];
    }
}

struct Tile {
  int64_t row, col, rows, cols;
};

// A result of (rows, cols) in tiles of 128 x 384: multiples of the library's 48 x 8 register block whose
// operands fit L2. Fewer than 16 tiles are made narrower (or lower), so that the cores share the work.
class Tiling {
 public:
  enum class Shrink { cols, rows };
  Tiling(int64_t rows, int64_t cols, Shrink shrink = Shrink::cols) : rows_(rows), cols_(cols) {
    while (count() < 16 && tile_rows_ > 32 && tile_cols_ > 48)
      shrink == Shrink::cols ? tile_cols_ /= 2 : tile_rows_ /= 2;
  }
  int64_t count() const { return ceil_div(rows_, tile_rows_) * ceil_div(cols_, tile_cols_); }
  // Row after row within a strip of columns, so that the strip's operand is shared while in cache.
  Tile operator[](int64_t i) const {
    const int64_t down = ceil_div(rows_, tile_rows_);
    const int64_t row = i % down * tile_rows_, col = i / down * tile_cols_;
    return {row, col, std::min(tile_rows_, rows_ - row), std::min(tile_cols_, cols_ - col)};
  }

 private:
  int64_t rows_, cols_, tile_rows_ = 128, tile_cols_ = 384;
};

// Initialises y, which the product is added to: y = residual + bias. Nothing is done if y is the residual.
template <class T>
void start_tile(const MatmulFwd<T>& a, const Tile& t) {
  if (!a.bias && a.residual.data == a.y.data) return;
  for (int64_t r = 0; r < t.rows; ++r) {
    T* const y = a.y[t.row + r] + t.col;
    const T* const residual = a.residual ? a.residual[t.row + r] + t.col : nullptr;
    const T* const bias = a.bias ? a.bias.data + t.col : nullptr;
    each_vector<T>(t.cols, [&](int64_t c, auto n) {
      const Simd<T> from = residual ? load(residual + c, n) : Simd<T>{};
      store(y + c, bias ? from + load(bias + c, n) : from, n);
    });
  }
}

// to (cols, to_stride) = from (rows, cols) transposed.
template <class T>
void transpose_into(T* to, int64_t to_stride, const T* from, int64_t from_stride, int64_t rows,
                    int64_t cols) {
  constexpr int64_t W = kLanes<T>;
  for (int64_t r = 0; r < rows; r += W)
    for (int64_t c = 0; c < cols; c += W) {
      const int64_t height = std::min(W, rows - r), width = std::min(W, cols - c);
      Simd<T> square[W] = {};
      for (int64_t i = 0; i < height; ++i) square[i] = load(from + (r + i) * from_stride + c, width);
      transpose<T>(square);
      for (int64_t i = 0; i < width; ++i) store(to + (c + i) * to_stride + r, square[i], height);
    }
}

// dw += dy^T x for one tile, and dbias for the first strip. The library is a third slower when it transposes
// dy itself (its rows are far apart), so a chunk of rows is transposed here and stays in L2; a bias gradient
// is then a row sum of it.
template <class T>
void dw_tile(const MatmulBwd<T>& a, const Tile& t) {
  constexpr int64_t kRows = 1024, kStride = kRows + kLanes<T>;  // a power of two would share cache sets
  T* const dy_t = thread_scratch<T, struct TransposedDy>(t.rows * kStride);
  for (int64_t first = 0; first < a.dy.rows; first += kRows) {
    const int64_t rows = std::min(kRows, a.dy.rows - first);
    transpose_into(dy_t, kStride, a.dy[first] + t.row, a.dy.stride, rows, t.rows);
    if (a.dbias && t.col == 0)
      for (int64_t m = 0; m < t.rows; ++m) {
        Simd<T> sum{};
        each_vector<T>(rows, [&](int64_t r, auto n) { sum += load(dy_t + m * kStride + r, n); });
        a.dbias[t.row + m] += lane_sum<T>(sum);
      }
    if (a.dw)
      multiply({.M = t.rows,
                .N = t.cols,
                .K = rows,
                .a = dy_t,
                .a_stride = kStride,
                .b = a.x[first] + t.col,
                .b_stride = a.x.stride,
                .c = a.dw[t.row] + t.col,
                .c_stride = a.dw.stride,
                .accumulate = true});
  }
}

}  // namespace

template <class T>
void matmul_fwd(Stream, const MatmulFwd<T>& a) {
  a.check();
  const Tiling tiling(a.x.rows, a.w.rows);
  parallel_for(tiling.count(), [&](int64_t i) {
    const Tile t = tiling[i];
    const bool added = a.bias || a.residual;
    if (added) start_tile(a, t);
    multiply({.M = t.rows,
              .N = t.cols,
              .K = a.x.cols,
              .a = a.x[t.row],
              .a_stride = a.x.stride,
              .b = a.w[t.col],
              .b_stride = a.w.stride,
              .b_transposed = true,
              .c = a.y[t.row] + t.col,
              .c_stride = a.y.stride,
              .accumulate = added});
  });
}

template <class T>
void matmul_bwd(Stream, const MatmulBwd<T>& a) {
  a.check();
  if (a.dx) {
    const Tiling tiling(a.dx.rows, a.dx.cols);
    parallel_for(tiling.count(), [&](int64_t i) {
      const Tile t = tiling[i];
      multiply({.M = t.rows,
                .N = t.cols,
                .K = a.dy.cols,
                .a = a.dy[t.row],
                .a_stride = a.dy.stride,
                .b = a.w.data + t.col,
                .b_stride = a.w.stride,
                .c = a.dx[t.row] + t.col,
                .c_stride = a.dx.stride,
                .accumulate = a.dx_accumulate});
    });
  }
  if (a.dw || a.dbias) {
    // Low tiles rather than narrow ones: dy is transposed once for every strip of columns.
    const Tiling tiling(a.dy.cols, a.dw ? a.dw.cols : 1, Tiling::Shrink::rows);
    parallel_for(tiling.count(), [&](int64_t i) { dw_tile(a, tiling[i]); });
  }
}

template void matmul_fwd(Stream, const MatmulFwd<float>&);
template void matmul_fwd(Stream, const MatmulFwd<double>&);
template void matmul_bwd(Stream, const MatmulBwd<float>&);
template void matmul_bwd(Stream, const MatmulBwd<double>&);

}  // namespace saslm::cpu
