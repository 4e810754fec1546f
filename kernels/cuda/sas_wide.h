// The SAS simulation on tensor cores for sizes known at run time: what sas_fwd and sas_bwd take where no
// tile is compiled for a shape, or none fits the card.
//
// Shared memory of a thread block, SasWideLayout::bytes(tokens); pitches are in elements of bf16:
//
//   weights  conv1 [mid][taps x in]   conv2 [mid][taps x mid]   proj1 [E][D]   proj2 [E][E]         bf16
//   biases   conv1, conv1 + conv2, proj1, proj1 + proj2                                            float
//   tokens   of each: x, relu(Z1) and Z2 as lines, [position][channel]; backward: dy and relu(Z3) as rows,
//            [head][feature] (forward: relu(Z3)). dZ1's lines take dy's place, dZ2's lines Z2's        bf16
//
// Lines are as in sas_tile.cuh. Channels are padded to blocks of 8; what a product sums over (positions,
// heads) to steps of 16.
#pragma once
#include <algorithm>
#include <cstddef>

#include "core/bf16.h"
#include "core/dims.h"
#include "kernels/cuda/sas_tiles.h"
#include "kernels/sas.h"

namespace saslm::cuda {

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

// Of shapes that SasWideLayout::takes, within the device's shared memory.
void sas_fwd_wide(Stream, const SasFwd<bf16>&);
// Leaves the sums of every partition in a.partial.
void sas_bwd_wide(Stream, const SasBwd<bf16>&);

}  // namespace saslm::cuda
