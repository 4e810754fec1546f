// Contract: kernels/tensor_product.h. Meaning: kernels/cpu/tensor_product.cpp.
//
// Forward: a block takes 8 tokens, a thread a pack of 16 bytes of four heads, so that a pack of b, which
// comes from L1, serves four. Floor: y once; at R = 6 the multiply-adds and what surrounds them take about
// two thirds of it.
//
// Backward: a warp a token, four ranks at a time: db with lanes along the features and, as many as are left,
// over the heads; then da with the same lanes, whose sums now go along the features. dy comes from memory
// once and from L1 or L2 after that. Floor: dy once; from R = 4 on the arithmetic, 4 R multiply-adds a byte
// of it, takes longer.
#include "kernels/cuda/heads.cuh"
#include "kernels/tensor_product.h"

namespace saslm::cuda {
namespace {

constexpr int kFwdThreads = 256, kFwdTokens = 8, kHeads = 4;
constexpr int kBwdThreads = 256, kRanks = 4;

template <class T, int n>
__global__ void __launch_bounds__(kFwdThreads) tensor_product_fwd_kernel(TensorProductFwd<T> x) {
  const int R = int(x.a.H), H = int(x.y.H);
  const TokenTile tile = token_tile<kFwdTokens>(blockIdx.x, x.y.T);
  each_pack_of<n, kFwdThreads>(tile, ceil_div(H, kHeads), x.y.D, [&](int64_t t, int64_t quad, int64_t d) {
    const int first = int(quad) * kHeads;
    float y[kHeads][n] = {};
    for (int r = 0; r < R; ++r) {
      const T* const a = x.a.at(tile.b, t, r) + first;
      float b[n];
      load(b, x.b.at(tile.b, t, r) + d);
      SIMT_UNROLL
      for (int h = 0; h < kHeads; ++h) {
        const float a_h = first + h < H ? float(a[h]) : 0.0f;
        SIMT_UNROLL
        for (int i = 0; i < n; ++i) y[h][i] += a_h * b[i];
      }
    }
    SIMT_UNROLL
    for (int h = 0; h < kHeads; ++h) {
      SIMT_UNROLL
      for (int i = 0; i < n; ++i) y[h][i] /= float(R);
      if (first + h < H) store(x.y.at(tile.b, t, first + h) + d, y[h]);
    }
  });
}

// A warp's token, and how its lanes lie.
struct Place {
  int64_t b, t;
  int along;  // lanes along the features
  __device__ __forceinline__ int column() const { return simt::lane_id() % along; }
  __device__ __forceinline__ int row() const { return simt::lane_id() / along; }
  __device__ __forceinline__ int rows() const { return kWarp / along; }
};

// db[r] = of the ranks first .. first+kRanks-1.
template <int n, class T>
__device__ __forceinline__ void token_db(const TensorProductBwd<T>& x, const Place& at, int first) {
  const int R = int(x.a.H), H = int(x.dy.H), D = int(x.dy.D);
  for (int start = 0; start < D; start += at.along * n) {
    const int d = start + at.column() * n;
    float db[kRanks][n] = {};
    for (int h = at.row(); h < H && d < D; h += at.rows()) {
      float dy[n];
      load(dy, x.dy.at(at.b, at.t, h) + d);
      SIMT_UNROLL
      for (int r = 0; r < kRanks; ++r) {
        if (first + r >= R) break;
        const float a = float(x.a.at(at.b, at.t, first + r)[h]);
        SIMT_UNROLL
        for (int i = 0; i < n; ++i) db[r][i] += a * dy[i];
      }
    }
    SIMT_UNROLL
    for (int r = 0; r < kRanks; ++r) {
      if (first + r >= R) break;
      SIMT_UNROLL
      for (int i = 0; i < n; ++i) db[r][i] = sum_across_rows(db[r][i], at.along) / float(R);
      if (at.row() == 0 && d < D) store(x.db.at(at.b, at.t, first + r) + d, db[r]);
    }
  }
}

// da[r] = of the same ranks.
template <int n, class T>
__device__ __forceinline__ void token_da(const TensorProductBwd<T>& x, const Place& at, int first) {
  const int R = int(x.a.H), H = int(x.dy.H), D = int(x.dy.D);
  for (int start = 0; start < H; start += at.rows()) {
    const int h = start + at.row();
    float da[kRanks] = {};
    for (int d = at.column() * n; d < D && h < H; d += at.along * n) {
      float dy[n];
      load(dy, x.dy.at(at.b, at.t, h) + d);
      SIMT_UNROLL
      for (int r = 0; r < kRanks; ++r) {
        if (first + r >= R) break;
        float b[n];
        load(b, x.b.at(at.b, at.t, first + r) + d);
        SIMT_UNROLL
        for (int i = 0; i < n; ++i) da[r] += dy[i] * b[i];
      }
    }
    SIMT_UNROLL
    for (int r = 0; r < kRanks; ++r) {
      if (first + r >= R) break;
      const float sum = sum_along_row(da[r], at.along);
      if (at.column() == 0 && h < H) x.da.at(at.b, at.t, first + r)[h] = T(sum / float(R));
    }
  }
}

template <class T, int n>
__global__ void __launch_bounds__(kBwdThreads) tensor_product_bwd_kernel(TensorProductBwd<T> x, int along) {
  const int64_t token = int64_t{blockIdx.x} * (kBwdThreads / kWarp) + simt::warp_id();
  if (token >= x.dy.B * x.dy.T) return;  // the whole warp
  const Place at{token / x.dy.T, token % x.dy.T, along};
  for (int first = 0; first < int(x.a.H); first += kRanks) {
    token_db<n>(x, at, first);
    token_da<n>(x, at, first);
  }
}

}  // namespace

template <class T>
void tensor_product_fwd(Stream stream, const TensorProductFwd<T>& x) {
  x.check();
  constexpr int n = kPack<T>;
  const bool packs = in_packs<n>(x.y) && in_packs<n>(x.b);
  simt::launch(packs ? tensor_product_fwd_kernel<T, n> : tensor_product_fwd_kernel<T, 1>,
               token_tiles<kFwdTokens>(x.y.B, x.y.T), kFwdThreads, 0, stream, x);
}

template <class T>
void tensor_product_bwd(Stream stream, const TensorProductBwd<T>& x) {
  x.check();
  constexpr int n = kPack<T>;
  const bool packs = in_packs<n>(x.dy) && in_packs<n>(x.b) && in_packs<n>(x.db);
  simt::launch(packs ? tensor_product_bwd_kernel<T, n> : tensor_product_bwd_kernel<T, 1>,
               ceil_div(x.dy.B * x.dy.T, kBwdThreads / kWarp), kBwdThreads, 0, stream, x,
               lanes_along(packs ? x.dy.D / n : x.dy.D));
}

template void tensor_product_fwd(Stream, const TensorProductFwd<float>&);
template void tensor_product_fwd(Stream, const TensorProductFwd<bf16>&);
template void tensor_product_bwd(Stream, const TensorProductBwd<float>&);
template void tensor_product_bwd(Stream, const TensorProductBwd<bf16>&);

}  // namespace saslm::cuda
