// Contract: kernels/sas.h. Meaning: kernels/cpu/sas_bwd.cpp.
//
// A block sums one partition (sas_plan.h), G tokens at a time, and is alone on its multiprocessor. All
// weights and G tokens' lines and rows lie in shared memory; the weights' gradients of the whole partition
// lie in the registers of its 8 warps, in float, and leave them once, for a.partial; a second kernel adds the
// partitions in order.
//
// The stages (formulas: kernels/sas.h; W for proj, w for conv). The first two are in sas_bwd_tile.cuh, the
// next two have a file each:
//   load          x and dy of G tokens, copied ahead; dy turned back; x to lines
//   recompute     8/G warps a token: Z1 = conv1(x), Z2 = Z1 + conv2(relu(Z1)); it never leaves the block
//   projections   all rows dealt to all warps: Z3 = Z2 W1^T + b1 again, dW2 += dy^T relu(Z3),
//                 dZ3 = dy + [Z3>0] (dy W2), dW1 += dZ3^T Z2; then dZ2 = dZ3 W1 per token
//   convolutions  dZ1 = dZ2 + [Z1>0] conv2^T(dZ2), dx = conv1^T(dZ1) per token, the transposes by reading
//                 the same weights transposed; dw2 and dw1 over all tokens
//   store         the partition's sums to a.partial, once
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

// Stage "load", after the copies: x and, where nothing follows the convolutions, dy from [head][position] to
// lines, [position][channel]; then dZ2 = dy. A token by its warps.
template <class Dims, class B>
__device__ __forceinline__ void rows_to_lines(typename B::Shared& s, const Place<B>& at) {
  transpose<Dims::kIn, Dims::kD>(s.x[at.token()] + B::In::kFirst, B::In::kPitch, s.raw[at.token()],
                                 B::kRawPitch, at.part(), B::kTokenWarps, at.lane);
  if constexpr (!Dims::kProjections) {
    simt::bar_sync(at.barrier(), B::kTokenThreads);
    transpose<Dims::kMid, Dims::kD>(s.z2[at.token()] + B::Mid::kFirst, B::Mid::kPitch,
                                    s.dy + at.token() * Dims::kMid * B::kRowPitch, B::kRowPitch, at.part(),
                                    B::kTokenWarps, at.lane);
  }
  simt::bar_sync(at.barrier(), B::kTokenThreads);
}

// Stage "projections" (sas_bwd_projections.cuh): from dy to dZ2, which takes Z2's place; dW2, db2, dW1, db1.
template <class Dims, class B, class LoadNext>
__device__ __forceinline__ void projections_back(typename B::Shared& s, Place<B>& at, Partial<Dims, B>& sums,
                                                 LoadNext load_next) {
  simt::block_sync();  // Z2 and dy of all tokens
  uint32_t positive[B::kRowTiles] = {}, dz3[B::kRowTiles][B::kColumns][2] = {};
  at.renew();
  recompute_z3<Dims, B>(s, at, positive);
  simt::block_sync();  // relu(Z3)
  at.renew();
  add_linear_gradient<Dims, B>(sums.proj2, s.dy, at, [&](auto& b, int k) {
    b.load_transposed(s.z3 + k * 16 * B::kRowPitch + at.column(), B::kRowPitch, at.lane);
  });
  at.renew();
  compute_dz3<Dims, B>(s, at, positive, dz3, sums);
  simt::block_sync();  // relu(Z3) and dy have been read
  load_next();
  store_dz3<B>(s, at, dz3);
  simt::block_sync();  // dZ3
  at.renew();
  add_linear_gradient<Dims, B>(sums.proj1, s.z3, at, [&](auto& b, int k) {
    const int line = at.input_column() * B::Mid::kPitch;
    b.load(block_lines<B>(s, 2 * k) + line, block_lines<B>(s, 2 * k + 1) + line, B::Mid::kPitch, at.lane);
  });
  at.renew();
  float dz2[B::kPositionTiles][B::kHeadBlocks][4] = {};
  compute_dz2<Dims, B>(s, at, dz2);
  simt::block_sync();  // Z2 and dZ3 have been read
  store_lines<false>(s.z2[at.token()] + B::Mid::kFirst + at.position() * B::Mid::kPitch, B::Mid::kPitch, dz2,
                     at.lane);
  simt::bar_sync(at.barrier(), B::kTokenThreads);
}

// The stages in their order, for the tokens of a partition, Group at a time.
template <class Dims, int Group>
__global__ void __launch_bounds__(kSasBwdThreads, 1) sas_bwd_kernel(SasBwd<bf16> a, BackwardLaunch launch) {
  using B = Backward<Dims, Group>;
  auto& s = *simt::dyn_smem<typename B::Shared>();
  Place<B> at;
  load_weights(s.w, a.w);
  fill_zeros(s.raw[0], int((sizeof(s) - sizeof(s.w)) / sizeof(bf16)), int(threadIdx.x), kSasBwdThreads);
  simt::block_sync();

  int first = int(blockIdx.x) * launch.partition_tokens;
  const int end = min(first + launch.partition_tokens, int(launch.shape.tokens));
  const auto load = [&](int token) {
    if (token < end) load_x_and_dy<Dims, B>(s, a, token, end, at, launch.x_vectors, launch.dy_vectors);
  };
  const SasSums to(launch.shape);
  Partial<Dims, B> sums;
  load(first);
  for (; first < end; first += Group) {
    // load
    simt::cp_async_wait<0>();
    simt::block_sync();  // x and dy are there, and nobody reads what the group before left
    if (a.rope.cos) turn_dy_back<Dims, B>(s, a, first, end, at);
    rows_to_lines<Dims, B>(s, at);
    if constexpr (!Dims::kProjections) load(first + Group);
    // recompute: relu(Z1); Z2
    at.renew();
    recompute_z1_z2<Dims, B>(s, at);
    // projections: dy to dZ2
    if constexpr (Dims::kProjections) projections_back<Dims, B>(s, at, sums, [&] { load(first + Group); });
    // convolutions: dZ2 to dZ1 to dx
    at.renew();
    compute_dz1<Dims, B>(s, at);
    simt::block_sync();  // dZ1 of all tokens
    at.renew();
    store_dx<Dims, B>(s, a, at, first, end, launch.dx_vectors);
    at.renew();
    add_convolution_gradients<Dims, B>(s, at, sums);
  }
  // store: the partition's sums, each once
  float* const partial = a.partial.data + blockIdx.x * to.size;
  store_convolution_gradients<Dims, B>(partial, to, launch.shape, at, sums);
  if constexpr (Dims::kProjections) {
    store_projection_gradients<Dims, B>(s, partial, to, at, sums);
    simt::block_sync();
    store_projection_bias_gradients<Dims, B>(s, partial, to);
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

template <class Dims, int Group>
void launch_backward(Stream stream, const SasBwd<bf16>& a) {
  using Shared = typename Backward<Dims, Group>::Shared;
  static_assert(sizeof(Shared) == sas_bwd_shared_bytes(size_of<Dims>, Group));
  const SasShape s = sas_shape(a.x, a.dy, a.w);
  const BackwardLaunch launch{s, int(sas_partition_tokens(s.tokens)), vector_rows(a.x), vector_rows(a.dy),
                              vector_rows(a.dx)};
  simt::launch(sas_bwd_kernel<Dims, Group>, sas_partitions(s.tokens), kSasBwdThreads, sizeof(Shared), stream,
               a, launch);
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
    with_dims(path.size, [&]<class Dims>(Dims) {
      if (path.variant == Variant::sas_bwd_tile_4)
        launch_backward<Dims, 4>(stream, a);
      else if constexpr (sas_bwd_takes(size_of<Dims>, 2))
        launch_backward<Dims, 2>(stream, a);
    });
  }
  add_partials(stream, a.dw, a.partial.data, sas_shape(a.x, a.dy, a.w));
}

template void sas_bwd<float>(Stream, const SasBwd<float>&);
template void sas_bwd<bf16>(Stream, const SasBwd<bf16>&);

}  // namespace saslm::cuda
