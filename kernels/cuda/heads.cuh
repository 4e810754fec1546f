// What the kernels over heads share: their packs, and a block's tile of tokens.
#pragma once
#include <bit>

#include "kernels/cuda/device.cuh"

namespace saslm::cuda {

template <int n, class T>
bool in_packs(const Heads<T>& x) {
  return in_packs<n>(x.data) && x.D % n == 0 && x.b_stride % n == 0 && x.t_stride % n == 0 &&
         x.h_stride % n == 0;
}

// Up to kTokens neighbours of one sequence: what block `index` of token_tiles() takes.
template <int kTokens>
int64_t token_tiles(int64_t B, int64_t T) {
  return B * ceil_div(T, kTokens);
}
struct TokenTile {
  int64_t b, first;
  int count;
};
template <int kTokens>
__device__ __forceinline__ TokenTile token_tile(int64_t index, int64_t T) {
  const int64_t tiles = ceil_div(T, kTokens), first = index % tiles * kTokens;
  return {index / tiles, first, int(min(int64_t{kTokens}, T - first))};
}

// f(t, row, d) for every pack of `rows` rows of D features of each of the tile's tokens, the block's threads
// side by side over neighbouring packs.
template <int n, int kThreads, class F>
__device__ __forceinline__ void each_pack_of(const TokenTile& tile, int64_t rows, int64_t D, F f) {
  const unsigned packs = unsigned(D / n), per_token = unsigned(rows) * packs;
  for (unsigned i = threadIdx.x; i < unsigned(tile.count) * per_token; i += kThreads) {
    const unsigned token = i / per_token, rest = i % per_token, row = rest / packs;
    f(tile.first + token, int64_t{row}, int64_t{rest % packs * n});
  }
}

// How many lanes of a warp go along a row of packs; the others take further rows.
inline int lanes_along(int64_t packs) {
  return packs < kWarp ? int(std::bit_ceil(uint64_t(packs))) : kWarp;
}

// Of lanes `along` apart; of the lanes of one row. Every lane gets the sum.
__device__ __forceinline__ float sum_across_rows(float v, int along) {
  for (int lanes = along; lanes < kWarp; lanes *= 2) v += simt::shuffle_xor(v, lanes);
  return v;
}
__device__ __forceinline__ float sum_along_row(float v, int along) {
  for (int lanes = along / 2; lanes; lanes /= 2) v += simt::shuffle_xor(v, lanes);
  return v;
}

}  // namespace saslm::cuda
