// The SAS simulation for any sizes and both types, without tensor cores: what sas_fwd and sas_bwd fall back
// to.
#pragma once
#include <cstddef>

#include "core/dims.h"
#include "kernels/sas.h"

namespace saslm::cuda {

// Shared memory of a thread block, in float: channels' lines of one token, and rows of `chunk` heads at a
// time.
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
template <class T>
void sas_fwd_general(Stream, const SasFwd<T>&);

// Leaves the sums of every partition in a.partial.
template <class T>
void sas_bwd_general(Stream, const SasBwd<T>&);

}  // namespace saslm::cuda
