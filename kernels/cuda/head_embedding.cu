// Contract: kernels/head_embedding.h. Meaning: kernels/cpu/head_embedding.cpp.
//
// Forward: a block takes 8 tokens, a thread a pack of 16 bytes of y; x and e come from L1. Floor: y once.
//
// Backward: a block a chunk of tokens, one row of scratch each; it walks the chunk in tiles of 16 tokens. Of
// a tile every warp first computes dx of one token, its lanes along the features and, as many as are left,
// over the heads; then every thread adds the tokens to its own pack of de, in registers from the chunk's
// first token to its last, reading from L1 what the warps have just read (92 KB at 45 heads of 64). No
// barrier, no shared memory. Where H*D > 4096 the threads go round again, reading dy a second time. Floor:
// dy once; two blocks an SM keep 64 KB on their way.
#include "kernels/cuda/heads.cuh"
#include "kernels/head_embedding.h"

namespace saslm::cuda {
namespace {

constexpr int kFwdThreads = 256, kFwdTokens = 8;
constexpr int kBwdThreads = 512, kTile = kBwdThreads / kWarp;

template <class T, int n>
__global__ void __launch_bounds__(kFwdThreads) head_embedding_fwd_kernel(HeadEmbeddingFwd<T> a) {
  const bool mul = a.form == HeadEmbeddingForm::mul;
  const TokenTile tile = token_tile<kFwdTokens>(blockIdx.x, a.y.T);
  each_pack_of<n, kFwdThreads>(tile, a.y.H, a.y.D, [&](int64_t t, int64_t h, int64_t d) {
    float x[n], e[n];
    load(x, a.x.at(tile.b, t, 0) + d);
    load(e, a.e[h] + d);
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) x[i] = mul ? x[i] * (1 + e[i]) : x[i] + e[i];
    store(a.y.at(tile.b, t, h) + d, x);
  });
}

// dx = of one token, by one warp.
template <int n, class T>
__device__ __forceinline__ void token_dx(const HeadEmbeddingBwd<T>& a, int64_t b, int64_t t, int along) {
  const int lane = simt::lane_id(), D = int(a.dy.D), H = int(a.dy.H);
  const bool mul = a.form == HeadEmbeddingForm::mul;
  for (int first = 0; first < D; first += along * n) {
    const int d = first + lane % along * n;
    float sum[n] = {};
    for (int h = lane / along; h < H && d < D; h += kWarp / along) {
      float dy[n], e[n];
      load(dy, a.dy.at(b, t, h) + d);
      load(e, a.e[h] + d);
      SIMT_UNROLL
      for (int i = 0; i < n; ++i) sum[i] += mul ? dy[i] * (1 + e[i]) : dy[i];
    }
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) sum[i] = sum_across_rows(sum[i], along);
    if (lane < along && d < D) store(a.dx.at(b, t, 0) + d, sum);
  }
}

// de += of the tokens first .. first+count-1, for one pack of one head.
template <int n, class T>
__device__ __forceinline__ void add_de(float (&de)[n], const HeadEmbeddingBwd<T>& a, int64_t first,
                                       int64_t count, int64_t h, int64_t d) {
  const bool mul = a.form == HeadEmbeddingForm::mul;
  int64_t b = first / a.dy.T, t = first % a.dy.T;
  for (int64_t i = 0; i < count; ++i) {
    float dy[n], x[n];
    load(dy, a.dy.at(b, t, h) + d);
    load(x, a.x.at(b, t, 0) + d);
    SIMT_UNROLL
    for (int j = 0; j < n; ++j) de[j] += mul ? dy[j] * x[j] : dy[j];
    if (++t == a.dy.T) t = 0, ++b;
  }
}

template <class T, int n>
__global__ void __launch_bounds__(kBwdThreads, 2)
    head_embedding_bwd_kernel(HeadEmbeddingBwd<T> a, int along) {
  const int64_t tokens = a.dy.B * a.dy.T, chunks = a.partial.rows, chunk = blockIdx.x;
  const int64_t begin = chunk * tokens / chunks, end = (chunk + 1) * tokens / chunks;
  const int packs = int(a.dy.D) / n, items = int(a.dy.H) * packs;
  for (int round = 0; round < items; round += kBwdThreads) {
    const int item = round + simt::thread_rank(), h = item / packs, d = item % packs * n;
    float de[n] = {};
    for (int64_t first = begin; first < end; first += kTile) {
      const int64_t token = first + simt::warp_id();
      if (round == 0 && token < end) token_dx<n>(a, token / a.dy.T, token % a.dy.T, along);
      if (item < items) add_de(de, a, first, min(int64_t{kTile}, end - first), h, d);
    }
    if (item >= items) continue;
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) a.partial[chunk][h * a.dy.D + d + i] = de[i];
  }
}

}  // namespace

template <class T>
void head_embedding_fwd(Stream stream, const HeadEmbeddingFwd<T>& a) {
  a.check();
  constexpr int n = kPack<T>;
  const bool packs = in_packs<n>(a.y) && in_packs<n>(a.x) && in_packs<n>(a.e);
  simt::launch(packs ? head_embedding_fwd_kernel<T, n> : head_embedding_fwd_kernel<T, 1>,
               token_tiles<kFwdTokens>(a.y.B, a.y.T), kFwdThreads, 0, stream, a);
}

template <class T>
void head_embedding_bwd(Stream stream, const HeadEmbeddingBwd<T>& a) {
  a.check();
  constexpr int n = kPack<T>;
  const bool packs = in_packs<n>(a.dy) && in_packs<n>(a.dx) && in_packs<n>(a.x) && in_packs<n>(a.e);
  simt::launch(packs ? head_embedding_bwd_kernel<T, n> : head_embedding_bwd_kernel<T, 1>, a.partial.rows,
               kBwdThreads, 0, stream, a, lanes_along(packs ? a.dy.D / n : a.dy.D));
  const Mat<const float> partial = a.partial;
  const int64_t D = a.dy.D;
  if (a.de.contiguous()) return add_column_sums(stream, Vec<float>{a.de.data, a.dy.H * D}, partial);
  for (int64_t h = 0; h < a.dy.H; ++h)
    add_column_sums(stream, Vec<float>{a.de[h], D},
                    Mat<const float>{partial.data + h * D, partial.rows, D, partial.stride});
}

template void head_embedding_fwd(Stream, const HeadEmbeddingFwd<float>&);
template void head_embedding_fwd(Stream, const HeadEmbeddingFwd<bf16>&);
template void head_embedding_bwd(Stream, const HeadEmbeddingBwd<float>&);
template void head_embedding_bwd(Stream, const HeadEmbeddingBwd<bf16>&);

}  // namespace saslm::cuda
