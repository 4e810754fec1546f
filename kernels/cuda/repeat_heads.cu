// Contract: kernels/repeat_heads.h. Meaning: kernels/cpu/repeat_heads.cpp.
//
// A block takes neighbouring tokens, a thread a pack of 16 bytes: forward of y, backward of dx, whose heads
// it sums in their order. Heads that several read come from L1 but for the first time. Floor: both tensors
// once, 4.3 TB/s.
#include "kernels/cuda/heads.cuh"
#include "kernels/repeat_heads.h"

namespace saslm::cuda {
namespace {

constexpr int kFwdThreads = 256, kFwdTokens = 8;
constexpr int kBwdThreads = 128, kBwdTokens = 32;  // a token of MLA's keys has 4 packs

template <class T, int n>
__global__ void __launch_bounds__(kFwdThreads) repeat_heads_fwd_kernel(RepeatHeadsFwd<T> a, int64_t group) {
  const TokenTile tile = token_tile<kFwdTokens>(blockIdx.x, a.y.T);
  each_pack_of<n, kFwdThreads>(tile, a.y.H, a.y.D, [&](int64_t t, int64_t h, int64_t d) {
    simt::stv(a.y.at(tile.b, t, h) + d, load_pack<n>(a.x.at(tile.b, t, unsigned(h) / unsigned(group)) + d));
  });
}

template <class T, int n>
__global__ void __launch_bounds__(kBwdThreads) repeat_heads_bwd_kernel(RepeatHeadsBwd<T> a, int64_t group) {
  const TokenTile tile = token_tile<kBwdTokens>(blockIdx.x, a.dy.T);
  each_pack_of<n, kBwdThreads>(tile, a.dx.H, a.dx.D, [&](int64_t t, int64_t g, int64_t d) {
    float sum[n] = {};
    for (int64_t h = g * group; h < (g + 1) * group; ++h) {
      float dy[n];
      load(dy, a.dy.at(tile.b, t, h) + d);
      SIMT_UNROLL
      for (int i = 0; i < n; ++i) sum[i] += dy[i];
    }
    store(a.dx.at(tile.b, t, g) + d, sum);
  });
}

}  // namespace

template <class T>
void repeat_heads_fwd(Stream stream, const RepeatHeadsFwd<T>& a) {
  a.check();
  constexpr int n = kPack<T>;
  const bool packs = in_packs<n>(a.y) && in_packs<n>(a.x);
  simt::launch(packs ? repeat_heads_fwd_kernel<T, n> : repeat_heads_fwd_kernel<T, 1>,
               token_tiles<kFwdTokens>(a.y.B, a.y.T), kFwdThreads, 0, stream, a, a.y.H / a.x.H);
}

template <class T>
void repeat_heads_bwd(Stream stream, const RepeatHeadsBwd<T>& a) {
  a.check();
  constexpr int n = kPack<T>;
  const bool packs = in_packs<n>(a.dy) && in_packs<n>(a.dx);
  simt::launch(packs ? repeat_heads_bwd_kernel<T, n> : repeat_heads_bwd_kernel<T, 1>,
               token_tiles<kBwdTokens>(a.dy.B, a.dy.T), kBwdThreads, 0, stream, a, a.dy.H / a.dx.H);
}

template void repeat_heads_fwd(Stream, const RepeatHeadsFwd<float>&);
template void repeat_heads_fwd(Stream, const RepeatHeadsFwd<bf16>&);
template void repeat_heads_bwd(Stream, const RepeatHeadsBwd<float>&);
template void repeat_heads_bwd(Stream, const RepeatHeadsBwd<bf16>&);

}  // namespace saslm::cuda
