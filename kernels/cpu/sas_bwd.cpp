// Contract: kernels/sas.h. Each task takes one partition of the tokens, group by group, and keeps its own
// sums for the parameters' gradients; then the partitions' sums are added in order.
#include <iterator>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/sas_tile.h"

namespace saslm::cpu {
namespace {

// What every group needs of the projections: proj1 as the forward has it, and both as they lie, padded.
template <class T>
struct PackedLinears {
  SasLinear<T> proj1_transposed, proj2;
  const T* proj1 = nullptr;  // [E][D rounded up]
};

template <class T>
void copy_rows(const Mat<const T>& from, T* to, int64_t width) {
  for (int64_t r = 0; r < from.rows; ++r, to += width)
    std::fill(std::copy_n(from[r], from.cols, to), to + width, T(0));
}

template <class T>
PackedLinears<T> pack(const SasParams<const T>& w, const SasShape& s) {
  if (!s.projections) return {};
  const int64_t width = round_up(s.E, kLanes<T>), d_width = round_up(s.D, kLanes<T>);
  T* const proj1_transposed = thread_scratch<T, PackedLinears<T>>((s.D + s.E + 2) * width + s.E * d_width);
  T* const proj2 = proj1_transposed + (s.D + 1) * width;
  T* const proj2_b = proj2 + s.E * width;
  T* const proj1 = proj2_b + width;
  copy_rows(w.proj1_w, proj1, d_width);
  copy_rows(w.proj2_w, proj2, width);
  copy_rows(Mat<const T>{w.proj2_b.data, 1, s.E, s.E}, proj2_b, width);
  return {sas_pack_transposed(proj1_transposed, w.proj1_w, w.proj1_b, width), {proj2, proj2_b}, proj1};
}

// in's gradient = the transpose of conv: taps mirrored, channels exchanged, all by the strides of w.
template <class T>
void convolve_back(const SasTile<T>& tile, const Mat<const T>& w, const T* d_out, T* d_in) {
  const int64_t K = tile.s.K;
  tile_gemm<T>({.M = w.cols / K,
                .N = tile.channel,
                .outer = w.rows,
                .inner = K,
                .a = w.data + K - 1,
                .a_m = K,
                .a_outer = w.stride,
                .a_inner = -1,
                .b = d_out - tile.halo,
                .b_outer = tile.channel,
                .b_inner = 1,
                .c = d_in,
                .c_m = tile.channel});
}

// sums[r][c] += dz_r * in_c lane by lane, for kRows outputs and kColumns (input, tap) pairs, in registers.
template <class T, int kRows>
void add_lane_products(int64_t size, const T* dz, const T* const* in, T* sums, int64_t sums_stride) {
  constexpr int kColumns = SasGradientLayout::kColumns;
  static_assert(kColumns == 4);
  const T *const in0 = in[0], *const in1 = in[1], *const in2 = in[2], *const in3 = in[3];
  Simd<T> sum[kRows][kColumns] = {};
  for (int64_t i = 0; i < size; i += kLanes<T>) {
    const Simd<T> x[kColumns] = {load(in0 + i), load(in1 + i), load(in2 + i), load(in3 + i)};
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Simd<T> z = load(dz + r * size + i);
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) sum[r][c] += z * x[c];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) {
      T* const to = sums + r * sums_stride + c * kLanes<T>;
      store(to, load(to) + sum[r][c]);
    }
}

// A convolution's weight and bias gradients: sums[o][(i, j)] += dz_o * in_i shifted by tap j, and
// sums[o][last] += dz_o. Columns beyond the last (i, j) repeat it and are never read.
template <class T>
void add_conv_sums(const SasTile<T>& tile, const T* dz, const T* in, int64_t in_channels, T* sums) {
  constexpr decltype(&add_lane_products<T, 1>) add_products[] = {
      add_lane_products<T, 1>, add_lane_products<T, 2>, add_lane_products<T, 3>,
      add_lane_products<T, 4>, add_lane_products<T, 5>, add_lane_products<T, 6>};
  constexpr int64_t kRows = std::size(add_products);  // 6x4 sums, 4 columns and a row: 29 of 32 registers
  const int64_t K = tile.s.K, columns = in_channels * K;
  const int64_t sums_stride = (round_up(columns, SasGradientLayout::kColumns) + 1) * kLanes<T>;
  for (int64_t o = 0; o < tile.s.Hs; o += kRows) {
    const T* const dz_o = dz + o * tile.channel;
    T* const sums_o = sums + o * sums_stride;
    const int64_t rows = std::min(kRows, tile.s.Hs - o);
    for (int64_t column = 0; column < columns; column += SasGradientLayout::kColumns) {
      const T* shifted[SasGradientLayout::kColumns];
      for (int64_t k = 0; k < SasGradientLayout::kColumns; ++k) {
        const int64_t c = std::min(column + k, columns - 1);
        shifted[k] = in + c / K * tile.channel + c % K - tile.halo;
      }
      add_products[rows - 1](tile.channel, dz_o, shifted, sums_o + column * kLanes<T>, sums_stride);
    }
    for (int64_t r = 0; r < rows; ++r) {
      T* const bias = sums_o + (r + 1) * sums_stride - kLanes<T>;
      Simd<T> sum = load(bias);
      for (int64_t i = 0; i < tile.channel; i += kLanes<T>) sum += load(dz_o + r * tile.channel + i);
      store(bias, sum);
    }
  }
}

// A linear's weight and bias gradients, transposed: sums[i][e] += sum over rows of in[row][i] *
// d_out[row][e], and sums[last][e] += d_out[row][e].
template <class T>
void add_linear_sums(const SasTile<T>& tile, int64_t rows, const T* d_out, const T* in, int64_t in_stride,
                     int64_t inputs, T* sums) {
  tile_gemm<T>({.M = inputs,
                .N = tile.width,
                .outer = 1,
                .inner = rows,
                .a = in,
                .a_m = 1,
                .a_inner = in_stride,
                .b = d_out,
                .b_inner = tile.width,
                .c = sums,
                .c_m = tile.width,
                .accumulate = true});
  T* const bias = sums + inputs * tile.width;
  for (int64_t e = 0; e < tile.width; e += kLanes<T>) {
    Simd<T> sum = load(bias + e);
    for (int64_t row = 0; row < rows; ++row) sum += load(d_out + row * tile.width + e);
    store(bias + e, sum);
  }
}

// out = residual + 1[relu > 0] * branch: the gradient of a branch that began with a relu joins the
// residual's.
template <class T>
void join_branch(int64_t size, const T* residual, const T* relu, const T* branch, T* out) {
  for (int64_t i = 0; i < size; i += kLanes<T>) {
    const Simd<T> zero{};
    store(out + i, load(residual + i) + (load(relu + i) > zero ? load(branch + i) : zero));
  }
}

// From dy to dZ2, which takes Z2's place.
template <class T>
void projections_back(const SasBwd<T>& a, const SasTile<T>& tile, const PackedLinears<T>& w, T* z2,
                      SasPieces<T>& pieces, T* sums1, T* sums2) {
  const SasShape& s = tile.s;
  const int64_t width = tile.width;
  T* const dy = pieces.rows();
  T* const dz3 = pieces.rows();
  T* const relu_z3 = pieces.rows();
  for (int64_t c = 0; c < s.Hs; c += tile.chunk, z2 += tile.chunk * tile.channel) {
    const Heads<const T> from = sas_channels(a.dy, c, tile.chunk);
    const int64_t rows = from.H * tile.n;
    sas_proj1(tile, rows, w.proj1_transposed, w.proj2.b, z2, dz3, relu_z3);
    sas_load(tile, from, dy, width, a.rope);

    add_linear_sums(tile, rows, dy, relu_z3, width, s.E, sums2);
    sas_linear(rows, dy, width, s.E, w.proj2.w, width, dz3, width);
    join_branch(rows * width, dy, relu_z3, dz3, dz3);

    add_linear_sums(tile, rows, dz3, z2, tile.pitch, s.D, sums1);
    sas_linear(rows, dz3, width, s.E, w.proj1, round_up(s.D, kLanes<T>), z2, tile.pitch);
    tile.clear_gaps(z2, from.H);
  }
}

template <class T>
void backward_group(const SasBwd<T>& a, const SasTile<T>& tile, const PackedLinears<T>& w, T* sums) {
  const SasShape& s = tile.s;
  const SasGradientLayout at(s, kLanes<T>);
  SasPieces<T> pieces(tile, tile.lines_size(s.H) + 3 * tile.lines_size(s.Hs) + 3 * tile.rows_size());
  T* const x = pieces.lines(s.H);
  sas_load(tile, a.x, x, tile.pitch);

  T* z2 = x;
  T* relu_z1 = nullptr;
  if (s.convs) {
    z2 = pieces.lines(s.Hs);
    relu_z1 = pieces.lines(s.Hs);
    sas_conv1(tile, a.w, x, z2, relu_z1);
    if (s.projections) sas_convolve(tile, a.w.conv2_w, relu_z1, z2, true);
  }

  if (s.projections)
    projections_back(a, tile, w, z2, pieces, sums + at.proj1, sums + at.proj2);
  else
    sas_load(tile, a.dy, z2, tile.pitch, a.rope);
  const T* const dz2 = z2;
  if (!s.convs) return sas_store(tile, dz2, tile.pitch, a.dx);

  add_conv_sums(tile, dz2, relu_z1, s.Hs, sums + at.conv2);
  T* const dz1 = pieces.lines(s.Hs);
  convolve_back(tile, a.w.conv2_w, dz2, dz1);
  join_branch(s.Hs * tile.channel, dz2, relu_z1, dz1, dz1);  // in the gaps 0, as both dz2 and relu_z1 are

  add_conv_sums(tile, dz1, x, s.H, sums + at.conv1);
  T* const dx = x;
  convolve_back(tile, a.w.conv1_w, dz1, dx);
  sas_store(tile, dx, tile.pitch, a.dx);
}

// The sums of all partitions: element by element, in the order of the partitions.
template <class T>
struct Partitions {
  const T* sums;
  int64_t size, count;

  Simd<T> total(int64_t offset) const {
    Simd<T> sum = load(sums + offset);
    for (int64_t p = 1; p < count; ++p) sum += load(sums + p * size + offset);
    return sum;
  }
};

template <class T>
void reduce_conv(const Partitions<T>& all, int64_t first, int64_t columns, const Mat<T>& dw,
                 const Vec<T>& db) {
  parallel_for(dw.rows, [&](int64_t o) {
    const int64_t row = first + o * (columns + 1) * kLanes<T>;
    for (int64_t c = 0; c < dw.cols; ++c) dw[o][c] += lane_sum<T>(all.total(row + c * kLanes<T>));
    db[o] += lane_sum<T>(all.total(row + columns * kLanes<T>));
  });
}

template <class T>
void reduce_linear(const Partitions<T>& all, int64_t first, int64_t width, const Mat<T>& dw,
                   const Vec<T>& db) {
  parallel_for(dw.cols + 1, [&](int64_t i) {
    for (int64_t o = 0; o < dw.rows; o += kLanes<T>) {
      const Simd<T> sum = all.total(first + i * width + o);
      for (int64_t lane = 0; lane < std::min(kLanes<T>, dw.rows - o); ++lane)
        (i < dw.cols ? dw[o + lane][i] : db[o + lane]) += sum[lane];
    }
  });
}

}  // namespace

template <class T>
void sas_bwd(Stream, const SasBwd<T>& a) {
  a.check();
  const SasShape s = sas_shape(a.x, a.dy, a.w);
  const SasGradientLayout at(s, kLanes<T>);
  const int64_t partitions = sas_partitions(s.tokens), tokens = sas_partition_tokens(s.tokens);
  const PackedLinears<T> w = pack(a.w, s);
  parallel_for(partitions, [&](int64_t p) {
    T* const sums = a.partial.data + p * at.size;
    std::fill_n(sums, at.size, T(0));
    const int64_t end = std::min(s.tokens, (p + 1) * tokens);
    for (int64_t first = p * tokens; first < end; first += kSasGroup)
      backward_group(a, SasTile<T>(s, first, end), w, sums);
  });

  const Partitions<T> all{a.partial.data, at.size, partitions};
  if (s.convs) {
    reduce_conv(all, at.conv1, at.columns1, a.dw.conv1_w, a.dw.conv1_b);
    reduce_conv(all, at.conv2, at.columns2, a.dw.conv2_w, a.dw.conv2_b);
  }
  if (s.projections) {
    reduce_linear(all, at.proj1, at.width, a.dw.proj1_w, a.dw.proj1_b);
    reduce_linear(all, at.proj2, at.width, a.dw.proj2_w, a.dw.proj2_b);
  }
}

template void sas_bwd<float>(Stream, const SasBwd<float>&);
template void sas_bwd<double>(Stream, const SasBwd<double>&);

}  // namespace saslm::cpu
