// The tiles of SAS' tensor-core kernels: the sizes they are compiled for, and the shared memory of a thread
// block. All of it follows from the sizes alone. Kernels: sas_fwd.cu, sas_bwd.cu; what lies where in shared
// memory: sas_tile.cuh.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>

#include "core/dims.h"
#include "kernels/sas.h"

namespace saslm::cuda {

// What the tensor-core kernels are compiled for: at most so many channels in and out and taps, exactly so
// many positions and features; no features: no projections. The first that fits a simulation computes it.
struct SasSize {
  int in, mid, d, e, taps;

  constexpr int row() const { return e > 0 ? e : d; }  // features of a row of y
  constexpr bool fits(const SasShape& s) const {
    return s.convs && s.projections == (e > 0) && s.H <= in && s.Hs <= mid && s.D == d && s.E == row() &&
           s.K <= taps && s.tokens <= 1 << 30;
  }
};
constexpr std::array<SasSize, 8> kSasSizes{{
    {16, 16, 32, 48, 5},
    {16, 16, 32, 0, 5},  // quickstart
    {16, 40, 64, 96, 5},
    {16, 40, 64, 0, 5},  // 124M
    {16, 48, 64, 96, 5},
    {16, 48, 64, 0, 5},  // 353M
    {40, 40, 64, 96, 5},
    {40, 40, 64, 0, 5},  // 124M over tpa
}};
// Its index, or size() when none fits.
constexpr size_t sas_size_for(const SasShape& s) {
  size_t i = 0;
  while (i < kSasSizes.size() && !kSasSizes[i].fits(s)) ++i;
  return i;
}

// Shared memory of a block (sas_tile.cuh draws what lies there). Elements from one position to the next, and
// of a token's lines; bytes of all weights.
constexpr int line_pitch(int channels) {
  return channels % 16 == 0 ? channels + 8 : channels;
}
constexpr int sas_lines(const SasSize& z, int channels) {
  return (z.d + z.taps / 2 * 2) * line_pitch(channels) + 8;
}
constexpr size_t sas_weight_bytes(const SasSize& z) {
  const auto conv = [&](int channels) { return z.mid * (ceil_div(channels * z.taps, 16) * 16 + 8); };
  const int64_t linear = z.e > 0 ? z.e * (z.d + 8) + z.e * (z.e + 8) : 16;
  return size_t(2 * (conv(z.in) + conv(z.mid) + linear) + 4 * (2 * z.mid + 2 * z.row()));
}
// Forward: a warp has two tokens' x and lines.
constexpr int kSasFwdTokens = 2, kSasFwdWarps = 8;
constexpr size_t sas_fwd_shared_bytes(const SasSize& z, int warps) {
  return sas_weight_bytes(z) + size_t(warps) * 2 * kSasFwdTokens * (z.in * (z.d + 8) + sas_lines(z, z.mid));
}
// As many warps as there is room for, at most kSasFwdWarps; 0: not even one.
constexpr int sas_fwd_warps(const SasSize& z, size_t shared_bytes) {
  int warps = kSasFwdWarps;
  while (warps > 0 && sas_fwd_shared_bytes(z, warps) > shared_bytes) --warps;
  return warps;
}
// Backward: of `tokens` tokens x twice, relu(Z1), Z2, dy, relu(Z3).
constexpr size_t sas_bwd_shared_bytes(const SasSize& z, int tokens) {
  const int lines = sas_lines(z, z.mid), rows = z.mid * (z.row() + 8);
  return sas_weight_bytes(z) +
         size_t(tokens) * 2 *
             (z.in * (z.d + 8) + sas_lines(z, z.in) + 2 * lines + rows + std::max(z.e > 0 ? rows : 0, lines));
}
// 8 warps deal `tokens` tokens among them, 16 positions at a time.
constexpr bool sas_bwd_takes(const SasSize& z, int tokens) {
  return z.d / 16 % (8 / tokens) == 0;
}

}  // namespace saslm::cuda
