// Contract: kernels/sas.h. Meaning: kernels/cpu/sas_bwd.cpp.
//
// A block sums one partition (sas_plan.h), G tokens at a time, and is alone on its multiprocessor. All
// weights and G tokens' lines and rows lie in shared memory; the weights' gradients of the whole partition
// lie in the registers of its 8 warps, in float, and leave them once, for a.partial; a second kernel adds the
// partitions in order.
//
//   recompute     8/G warps a token: Z1, Z2; nothing of it ever leaves the block
//   projections   all rows dealt to all warps: Z3 again, dZ3 = dy + [Z3>0] (dy W2), and dW2 += dy^T relu(Z3),
//                 dW1 += dZ3^T Z2; then dZ2 = dZ3 W1 per token
//   convolutions  dZ1 = dZ2 + [Z1>0] conv2^T(dZ2), dx = conv1^T(dZ1) per token, the transposes by reading
//                 the same weights transposed; dW of conv2 and conv1 over all tokens
//
// Biases of the convolutions are one more "tap" whose inputs are ones. The next x and dy are copied ahead by
// cp.async as soon as their places are free. Z2's lines become dZ2's, relu(Z3)'s rows dZ3's and then dZ1's
// lines.
//
// Floor on an H200 at 12/36 heads, 64/96 features, 5 taps, for q, k and v of a token: 28 KB (6.4 ns), 4492
// products of 16x8x16 (31 ns at mma.sync's rate), and 46 ns of shared memory's bandwidth (56 with two tokens
// at a time), which binds: a warp has two or three tiles for every fragment of the other side, since the
// partition's sums take the registers for more. Computed, not measured.
#include "kernels/cuda/sas_bwd_convolutions.cuh"
#include "kernels/cuda/sas_bwd_projections.cuh"
#include "kernels/cuda/sas_general.h"
#include "kernels/cuda/sas_wide.h"

namespace saslm::cuda {
namespace {

struct BackwardLaunch {
  SasShape shape;
  int partition_tokens;
  bool x_vectors, dy_vectors, dx_vectors;
};

template <class D, int Group>
__global__ void __launch_bounds__(kSasBwdThreads, 1) sas_bwd_kernel(SasBwd<bf16> a, BackwardLaunch launch) {
  using B = Backward<D, Group>;
  auto& s = *simt::dyn_smem<typename B::Shared>();
  Place<B> at;
  load_weights(s.w, a.w);
  fill_zeros(s.raw[0], int((sizeof(s) - sizeof(s.w)) / sizeof(bf16)), int(threadIdx.x), kSasBwdThreads);
  simt::block_sync();

  int first = int(blockIdx.x) * launch.partition_tokens;
  const int end = min(first + launch.partition_tokens, int(launch.shape.tokens));
  const auto load = [&](int token) {
    if (token < end) load_group<D, B>(s, a, token, end, at, launch.x_vectors, launch.dy_vectors);
  };
  const SasSums to(launch.shape);
  Partial<D, B> sums;
  load(first);
  for (; first < end; first += Group) {
    simt::cp_async_wait<0>();
    simt::block_sync();  // x and dy are there, and nobody reads what the group before left
    if (a.rope.cos) turn_back<D, B>(s, a, first, end, at);
    transpose<D::kIn, D::kD>(s.x[at.token()] + B::In::kFirst, B::In::kPitch, s.raw[at.token()], B::kRawPitch,
                             at.part(), B::kTokenWarps, at.lane);
    if constexpr (!D::kProjections) {
      simt::bar_sync(at.barrier(), B::kTokenThreads);
      transpose<D::kMid, D::kD>(s.z2[at.token()] + B::Mid::kFirst, B::Mid::kPitch,
                                s.dy + at.token() * D::kMid * B::kRowPitch, B::kRowPitch, at.part(),
                                B::kTokenWarps, at.lane);
    }
    simt::bar_sync(at.barrier(), B::kTokenThreads);
    if constexpr (!D::kProjections) load(first + Group);
    at.renew();
    recompute<D, B>(s, at);
    if constexpr (D::kProjections) {
      simt::block_sync();  // Z2 and dy of all tokens
      uint32_t positive[B::kRowTiles] = {}, dz3[B::kRowTiles][B::kColumns][2] = {};
      at.renew();
      project<D, B>(s, at, positive);
      simt::block_sync();  // relu(Z3)
      at.renew();
      add_linear<D, B>(sums.proj2, s.dy, at, [&](auto& b, int k) {
        b.load_transposed(s.z3 + k * 16 * B::kRowPitch + at.column(), B::kRowPitch, at.lane);
      });
      at.renew();
      project_back<D, B>(s, at, positive, dz3, sums);
      simt::block_sync();  // relu(Z3) and dy have been read
      load(first + Group);
      store_dz3<B>(s, at, dz3);
      simt::block_sync();  // dZ3
      at.renew();
      add_linear<D, B>(sums.proj1, s.z3, at, [&](auto& b, int k) {
        const int line = at.in_column() * B::Mid::kPitch;
        b.load(block_lines<B>(s, 2 * k) + line, block_lines<B>(s, 2 * k + 1) + line, B::Mid::kPitch, at.lane);
      });
      at.renew();
      float dz2[B::kTiles][B::kHeadBlocks][4] = {};
      widths_back<D, B>(s, at, dz2);
      simt::block_sync();  // Z2 and dZ3 have been read
      store_lines<false>(s.z2[at.token()] + B::Mid::kFirst + at.position() * B::Mid::kPitch, B::Mid::kPitch,
                         dz2, at.lane);
      simt::bar_sync(at.barrier(), B::kTokenThreads);
    }
    at.renew();
    lines_back<D, B>(s, at);
    simt::block_sync();  // dZ1 of all tokens
    at.renew();
    conv1_back<D, B>(s, a, at, first, end, launch.dx_vectors);
    at.renew();
    add_convolutions<D, B>(s, at, sums);
  }
  float* const partial = a.partial.data + blockIdx.x * to.size;
  store_convolutions<D, B>(partial, to, launch.shape, at, sums);
  if constexpr (D::kProjections) {
    store_projections<D, B>(s, partial, to, at, sums);
    simt::block_sync();
    store_projection_biases<D, B>(s, partial, to);
  }
}

// Where the gradients of one parameter go, in the order of SasSums.
struct Target {
  float* data;
  int64_t first, cols, stride;
};
struct Targets {
  Target all[8];
};

__global__ void __launch_bounds__(kSasBwdThreads)
    sas_add_partials_kernel(Targets to, const float* partial, int64_t size, int64_t partitions) {
  const int64_t i = int64_t(blockIdx.x) * kSasBwdThreads + threadIdx.x;
  if (i >= size) return;
  float sum = 0;
  SIMT_UNROLL
  for (int64_t p = 0; p < partitions; ++p) sum += partial[p * size + i];
  Target target = to.all[0];
  SIMT_UNROLL
  for (int k = 1; k < 8; ++k)
    if (i >= to.all[k].first) target = to.all[k];
  target.data[(i - target.first) / target.cols * target.stride + (i - target.first) % target.cols] += sum;
}

void add_partials(Stream stream, const SasParams<float>& dw, const float* partial, const SasShape& s) {
  const SasSums at(s);
  const auto weights = [](const Mat<float>& w, int64_t first) {
    return Target{w.data, first, w.cols, w.stride};
  };
  const auto bias = [](const Vec<float>& b, int64_t first) { return Target{b.data, first, b.size, b.size}; };
  const Targets to{{weights(dw.conv1_w, at.conv1_w), bias(dw.conv1_b, at.conv1_b),
                    weights(dw.conv2_w, at.conv2_w), bias(dw.conv2_b, at.conv2_b),
                    weights(dw.proj1_w, at.proj1_w), bias(dw.proj1_b, at.proj1_b),
                    weights(dw.proj2_w, at.proj2_w), bias(dw.proj2_b, at.proj2_b)}};
  if (at.size == 0) return;
  simt::launch(sas_add_partials_kernel, ceil_div(at.size, kSasBwdThreads), kSasBwdThreads, 0, stream, to,
               partial, at.size, sas_partitions(s.tokens));
}

template <class D, int Group>
void launch_backward(Stream stream, const SasBwd<bf16>& a) {
  using Shared = typename Backward<D, Group>::Shared;
  static_assert(sizeof(Shared) == sas_bwd_shared_bytes(size_of<D>, Group));
  const SasShape s = sas_shape(a.x, a.dy, a.w);
  const BackwardLaunch launch{s, int(sas_partition_tokens(s.tokens)), vector_rows(a.x), vector_rows(a.dy),
                              vector_rows(a.dx)};
  simt::launch(sas_bwd_kernel<D, Group>, sas_partitions(s.tokens), kSasBwdThreads, sizeof(Shared), stream, a,
               launch);
}

}  // namespace

template <class T>
void sas_bwd(Stream stream, const SasBwd<T>& a) {
  a.check();
  const Path path = choose(paths_of(simt::device_limits(stream), a), stream);
  if (path.slow()) {
    sas_bwd_general(stream, a);
  } else if constexpr (std::is_same_v<T, bf16>) {
    if (path.variant == Variant::sas_bwd_wide) sas_bwd_wide(stream, a);
    with_dims(path.size, [&]<class D>(D) {
      if (path.variant == Variant::sas_bwd_tile_4)
        launch_backward<D, 4>(stream, a);
      else if constexpr (sas_bwd_takes(size_of<D>, 2))
        launch_backward<D, 2>(stream, a);
    });
  }
  add_partials(stream, a.dw, a.partial.data, sas_shape(a.x, a.dy, a.w));
}

template void sas_bwd<float>(Stream, const SasBwd<float>&);
template void sas_bwd<bf16>(Stream, const SasBwd<bf16>&);

}  // namespace saslm::cuda
