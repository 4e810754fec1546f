// How the GPU deals the tokens of a SAS simulation's backward to blocks, and where a block leaves its sums:
// functions of the shape alone, so that no result depends on the device.
#pragma once
#include <algorithm>
#include <array>

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

// The tensor-core kernel for sizes of run time (sas_wide_fwd.cu): what lies where, in elements of bf16. Lines
// are as in sas_tile.cuh; channels are padded to blocks of 8, what a product sums over (positions, heads) to
// steps of 16.
struct SasWideLayout {
  int H, D, Hs, E, K, halo;
  bool projections;
  int in, mid;           // channels of x's lines and of the others
  int positions, heads;  // of lines and of rows: multiples of 16
  int x_pitch, pitch, conv1_pitch, conv2_pitch, proj1_pitch, row_pitch;
  int conv1, conv2, proj1, proj2, weights;  // where they begin; all of them
  int x, r1, z2, dy, r3, token;             // in a token; all of it. dZ1's lines take dy's place

  static constexpr int kMaxTokens = 8;

  constexpr static bool takes(const SasShape& s) {
    return s.convs && (!s.projections || s.E % 16 == 0) && s.tokens <= 1 << 30;
  }
  constexpr static int conv_pitch(int channels, int taps) { return int(round_up(channels * taps, 16)) + 8; }
  constexpr SasWideLayout(const SasShape& s, bool backward)
      : H(int(s.H)),
        D(int(s.D)),
        Hs(int(s.Hs)),
        E(int(s.E)),
        K(int(s.K)),
        halo(K / 2),
        projections(s.projections),
        in(int(round_up(s.H, 8))),
        mid(int(round_up(s.Hs, 8))),
        positions(int(round_up(s.D, 16))),
        heads(int(round_up(s.Hs, 16))),
        x_pitch(line_pitch(in)),
        pitch(line_pitch(mid)),
        conv1_pitch(conv_pitch(in, K)),
        conv2_pitch(conv_pitch(mid, K)),
        proj1_pitch(positions + 8),
        row_pitch(E + 8),
        conv1(0),
        conv2(mid * conv1_pitch),
        proj1(conv2 + mid * conv2_pitch),
        proj2(proj1 + (projections ? E * proj1_pitch : 0)),
        weights(proj2 + (projections ? E * row_pitch : 0)),
        x(0),
        r1((positions + 2 * halo) * x_pitch + 8),
        z2(r1 + lines()),
        dy(z2 + lines()),
        r3(dy + (backward ? std::max(rows(), lines()) : 0)),
        token(r3 + rows()) {}
  constexpr int lines() const { return (positions + 2 * halo) * pitch + 8; }
  constexpr int rows() const { return projections ? heads * row_pitch : 0; }
  constexpr int biases() const { return 2 * mid + (projections ? 2 * E : 0); }  // in float
  constexpr size_t bytes(int tokens) const {
    return size_t(2) * size_t(weights + tokens * token) + size_t(4) * size_t(biases());
  }
  // As many tokens at a time as there is room for, at most kMaxTokens; 0: not even one.
  constexpr int tokens_within(size_t limit) const {
    int tokens = kMaxTokens;
    while (tokens > 0 && bytes(tokens) > limit) --tokens;
    return tokens;
  }
};

// The kernel for any sizes: channels' lines and heads' rows in float, the latter `chunk` heads at a time.
struct SasGeneralLayout {
  int H, D, Hs, E, K, halo, pitch, row_pitch, chunk;
  bool convs, projections;

  constexpr explicit SasGeneralLayout(const SasShape& s)
      : H(int(s.H)),
        D(int(s.D)),
        Hs(int(s.Hs)),
        E(int(s.E)),
        K(s.convs ? int(s.K) : 1),
        halo(K / 2),
        pitch((D + 2 * halo) | 1),
        row_pitch(E | 1),
        chunk(0),
        convs(s.convs),
        projections(s.projections) {}

  // Of a token: lines, and rows of one head.
  constexpr size_t line_bytes(bool backward) const {
    const int lines = convs ? H + (backward ? 3 : 2) * Hs : H;
    return size_t(lines) * size_t(pitch) * sizeof(float);
  }
  constexpr size_t row_bytes(bool backward) const {
    return projections ? size_t(backward ? 3 : 2) * size_t(row_pitch) * sizeof(float) : 0;
  }
  constexpr size_t least_bytes(bool backward) const { return line_bytes(backward) + row_bytes(backward); }
};

// A partition is what one block sums: at most one for every multiprocessor of an H200, and enough tokens to
// be worth a block, in whole groups.
constexpr int64_t kSasPartitions = 132;
constexpr int64_t kSasPartitionTokens = 16;
constexpr int64_t kSasGroupTokens = 4;

inline int64_t sas_partition_tokens(int64_t tokens) {
  return std::max(kSasPartitionTokens, round_up(ceil_div(tokens, kSasPartitions), kSasGroupTokens));
}
inline int64_t sas_partitions(int64_t tokens) {
  return ceil_div(tokens, sas_partition_tokens(tokens));
}

// The gradients of a simulation's parameters one after the other, each as SasParams lays it out.
struct SasSums {
  int64_t conv1_w = 0, conv1_b = 0, conv2_w = 0, conv2_b = 0;
  int64_t proj1_w = 0, proj1_b = 0, proj2_w = 0, proj2_b = 0;
  int64_t size = 0;

  constexpr explicit SasSums(const SasShape& s) {
    const int64_t convs = s.convs ? 1 : 0, projections = s.projections ? 1 : 0;
    const auto take = [this](int64_t elements) {
      size += elements;
      return size - elements;
    };
    conv1_w = take(convs * s.Hs * s.H * s.K);
    conv1_b = take(convs * s.Hs);
    conv2_w = take(convs * s.Hs * s.Hs * s.K);
    conv2_b = take(convs * s.Hs);
    proj1_w = take(projections * s.E * s.D);
    proj1_b = take(projections * s.E);
    proj2_w = take(projections * s.E * s.E);
    proj2_b = take(projections * s.E);
  }
};

inline int64_t sas_bwd_scratch(const SasShape& shape) {
  return sas_partitions(shape.tokens) * SasSums(shape).size;
}

}  // namespace saslm::cuda
