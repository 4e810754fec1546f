// Helpers of many kernels: packs of neighbouring elements moved by one access, and sums over a warp, a block
// and the rows of a matrix. Every order of summation is fixed by the shape alone.
#pragma once
#include "core/dims.h"
#include "core/view.h"
#include "kernels/simt/simt.h"

namespace saslm::cuda {

using simt::kWarp;

// n neighbours in memory, moved by one access of n * sizeof(T) bytes; the address is aligned to that.
template <class T, int n>
struct alignas(n * sizeof(T)) Pack {
  T x[n];
};
template <class T>
constexpr int kPack = 16 / int(sizeof(T));  // the widest

template <int n, class T>
__device__ __forceinline__ Pack<T, n> load_pack(const T* p) {
  return simt::ldv<Pack<T, n>>(p);
}

// What a pack holds, as floats.
template <class T, int n>
__device__ __forceinline__ void unpack(float (&v)[n], const Pack<T, n>& pack) {
  if constexpr (std::is_same_v<T, bf16> && n % 2 == 0) {
    const auto words = std::bit_cast<Pack<uint32_t, n / 2>>(pack);
    SIMT_UNROLL
    for (int i = 0; i < n / 2; ++i) {
      const float2 pair = simt::unpack_bf16(words.x[i]);
      v[2 * i] = pair.x;
      v[2 * i + 1] = pair.y;
    }
  } else {
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) v[i] = float(pack.x[i]);
  }
}
template <int n, class T>
__device__ __forceinline__ void load(float (&v)[n], const T* p) {
  unpack(v, load_pack<n>(p));
}

template <int n, class T>
__device__ __forceinline__ void store(T* p, const float (&v)[n]) {
  if constexpr (std::is_same_v<T, bf16> && n % 2 == 0) {
    Pack<uint32_t, n / 2> words;
    SIMT_UNROLL
    for (int i = 0; i < n / 2; ++i) words.x[i] = simt::pack_bf16(v[2 * i], v[2 * i + 1]);
    simt::stv(p, words);
  } else {
    Pack<T, n> pack;
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) pack.x[i] = T(v[i]);
    simt::stv(p, pack);
  }
}

// total[i] += v[i].
template <int n>
__device__ __forceinline__ void add(float* total, const float (&v)[n]) {
  float sum[n];
  load(sum, total);
  SIMT_UNROLL
  for (int i = 0; i < n; ++i) sum[i] += v[i];
  store(total, sum);
}

// Host: whether the view falls into aligned packs of n. An absent view counts as one that does.
template <int n, class T>
bool in_packs(const T* data) {
  return reinterpret_cast<uintptr_t>(data) % (n * sizeof(T)) == 0;
}
template <int n, class T>
bool in_packs(const Vec<T>& v) {
  return !v || (in_packs<n>(v.data) && v.size % n == 0);
}
template <int n, class T>
bool in_packs(const Mat<T>& m) {
  return !m || (in_packs<n>(m.data) && m.cols % n == 0 && m.stride % n == 0);
}

// f(c, packs) for every pack a lane has in a row of C elements: neighbouring lanes take neighbouring packs.
// The rows are read side by side, kBatch packs of each on the way before the first is used.
template <int n, int kBatch, class T, int kRows, class F>
__device__ __forceinline__ void each_pack(int C, const T* const (&rows)[kRows], F f) {
  constexpr int kStep = kWarp * n;
  for (int first = simt::lane_id() * n; first < C; first += kBatch * kStep) {
    Pack<T, n> batch[kBatch][kRows];
    SIMT_UNROLL
    for (int i = 0; i < kBatch; ++i) {
      SIMT_UNROLL
      for (int r = 0; r < kRows; ++r)
        if (first + i * kStep < C) batch[i][r] = load_pack<n>(rows[r] + first + i * kStep);
    }
    SIMT_UNROLL
    for (int i = 0; i < kBatch; ++i)
      if (first + i * kStep < C) f(first + i * kStep, batch[i]);
  }
}

// Every lane gets the result.
template <class S>
__device__ __forceinline__ S warp_sum(S v) {
  SIMT_UNROLL
  for (int lanes = kWarp / 2; lanes; lanes /= 2) v += simt::shuffle_xor(v, lanes);
  return v;
}
template <class S>
__device__ __forceinline__ S warp_max(S v) {
  SIMT_UNROLL
  for (int lanes = kWarp / 2; lanes; lanes /= 2) v = max(v, simt::shuffle_xor(v, lanes));
  return v;
}

// Every thread gets the sum. `partial` is shared memory; a barrier must pass before it is written again.
template <class S, int kWarps>
__device__ __forceinline__ S block_sum(S v, S (&partial)[kWarps]) {
  v = warp_sum(v);
  if (simt::lane_id() == 0) partial[simt::warp_id()] = v;
  simt::block_sync();
  S sum = 0;
  SIMT_UNROLL
  for (int w = 0; w < kWarps; ++w) sum += partial[w];
  return sum;
}

// total[c] += sum over r of partial[r][c]: the second stage of sums that blocks have begun. A block has 32
// columns; each of its warps sums a share of the rows, and the first warp sums the warps.
constexpr int kColumnSumWarps = 16;

template <class A, class X>
__global__ void __launch_bounds__(kColumnSumWarps* kWarp)
    add_column_sums_kernel(Vec<A> total, Mat<const X> partial) {
  SIMT_SHARED(A[kColumnSumWarps][kWarp], sums);
  const int lane = simt::lane_id(), warp = simt::warp_id();
  const int64_t c = int64_t{blockIdx.x} * kWarp + lane;
  A sum = 0;
  if (c < total.size)
    for (int64_t r = warp; r < partial.rows; r += kColumnSumWarps) sum += A(partial[r][c]);
  sums[warp][lane] = sum;
  simt::block_sync();
  if (warp > 0 || c >= total.size) return;
  sum = total[c];
  SIMT_UNROLL
  for (int w = 0; w < kColumnSumWarps; ++w) sum += sums[w][lane];
  total[c] = sum;
}

template <class A, class X>
void add_column_sums(Stream stream, Vec<A> total, Mat<X> partial) {
  if (total.size == 0) return;
  simt::launch(add_column_sums_kernel<A, std::remove_const_t<X>>, ceil_div(total.size, kWarp),
               kColumnSumWarps * kWarp, 0, stream, total, partial);
}

}  // namespace saslm::cuda
