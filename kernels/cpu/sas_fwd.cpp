// Contract: kernels/sas.h. Each task takes one group of tokens from x to y.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/sas_tile.h"

namespace saslm::cpu {
namespace {

template <class T>
void forward_group(const SasFwd<T>& a, const SasTile<T>& tile, const SasLinear<T>& proj1,
                   const SasLinear<T>& proj2) {
  const SasShape& s = tile.s;
  SasPieces<T> pieces(tile, tile.lines_size(s.H) + 2 * tile.lines_size(s.Hs) + 2 * tile.rows_size());

  T* const x = pieces.lines(s.H);
  sas_load(tile, a.x, x, tile.pitch);

  T* z2 = x;
  if (s.convs) {
    z2 = pieces.lines(s.Hs);
    T* const relu_z1 = pieces.lines(s.Hs);
    sas_conv1(tile, a.w, x, z2, relu_z1);
    sas_convolve(tile, a.w.conv2_w, relu_z1, z2, true);
  }
  if (!s.projections) return sas_store(tile, z2, tile.pitch, a.y, a.rope, a.start);

  T* const y = pieces.rows();
  T* const relu_z3 = pieces.rows();
  for (int64_t c = 0; c < s.Hs; c += tile.chunk) {
    const Heads<T> out = sas_channels(a.y, c, tile.chunk);
    const int64_t rows = out.H * tile.n;
    sas_proj1(tile, rows, proj1, proj2.b, z2 + c * tile.channel, y, relu_z3);
    sas_linear(rows, relu_z3, tile.width, s.E, proj2.w, tile.width, y, tile.width, true);
    sas_store(tile, y, tile.width, out, a.rope, a.start);
  }
}

}  // namespace

template <class T>
void sas_fwd(Stream, const SasFwd<T>& a) {
  a.check();
  const SasShape s = sas_shape(a.x, a.y, a.w);
  SasLinear<T> proj1, proj2;
  if (s.projections) {
    const int64_t width = round_up(s.E, kLanes<T>);
    T* const packed = thread_scratch<T, SasLinear<T>>((s.D + s.E + 2) * width);
    proj1 = sas_pack_transposed(packed, a.w.proj1_w, a.w.proj1_b, width);
    proj2 = sas_pack_transposed(packed + (s.D + 1) * width, a.w.proj2_w, a.w.proj2_b, width);
  }
  parallel_for(ceil_div(s.tokens, kSasGroup), [&](int64_t group) {
    forward_group(a, SasTile<T>(s, group * kSasGroup, s.tokens), proj1, proj2);
  });
}

template void sas_fwd<float>(Stream, const SasFwd<float>&);
template void sas_fwd<double>(Stream, const SasFwd<double>&);

}  // namespace saslm::cpu
