// Backward of the SAS simulation on tensor cores, in bf16, at the sizes of sas_tiles.h. Contract:
// kernels/sas.h. Per token, with w for the convolutions' weights and W for the projections':
//
//   again      Z1 = conv1(x)   Z2 = Z1 + conv2(relu(Z1))   Z3 = Z2 W1^T + b1
//   gradients  dY  = dy, the rope taken back
//              dZ3 = dY + [Z3>0] (dY W2)          dW2 += dY^T relu(Z3)   db2 += sum of dY    over heads
//              dZ2 = dZ3 W1                       dW1 += dZ3^T Z2        db1 += sum of dZ3
//              dZ1 = dZ2 + [Z1>0] conv2^T(dZ2)    dw2, db2 of dZ2 and relu(Z1)               over positions
//              dx  = conv1^T(dZ1)                 dw1, db1 of dZ1 and x
//
// Grid     A thread block a partition (sas_partitions.h), one a multiprocessor.
// Block    8 warps. It computes 4 (or 2) tokens at a time. The sums of the partition lie in registers, in
//          float: a warp has the same tiles of the weights' gradients throughout.
// Load     load_x_and_dy: x and dy of the next tokens by cp.async, as soon as their places are free. All
//          weights once. Then unrotate_dy, and rows_to_lines: x (and dy without projections) to
//          [position][channel].
// Compute  recompute_z1_z2: a token by its own 8/4 (8/2) warps; Z1 stays in registers, in float.
//          projections_bwd: the heads of all tokens as rows, shared among all warps
//          (sas_bwd_projections.cuh). compute_dz1: a token by its warps. add_convolution_gradients: all
//          tokens by all warps. The transposed convolutions read the same weights transposed
//          (sas_bwd_convolutions.cuh).
// Store    store_dx: from registers, per token. The partition's sums, once, at the end.
// Shared   SasBwdBlock::Shared (sas_bwd_tile.cuh): weights and, of the tokens, x, relu(Z1), Z2, dY,
//          relu(Z3). dZ2 takes Z2's place, dZ3 that of relu(Z3), and dZ1's lines that of dZ3.
// Writes   dx (=), a.partial (=); a second kernel adds the partitions to dw (+=), in order.
// Cost     Floor on an H200 at 12/36 heads, 64/96 features, 5 taps, for q, k and v of a token: 28 KB (6.4
//          ns), 4492 products of 16x8x16 (31 ns at mma.sync's rate), and 46 ns of shared memory's bandwidth
//          (56 with two tokens at a time), which binds: a warp has two or three tiles for every fragment of
//          the other side, since the partition's sums take the registers for more. Computed, not measured.
//
// The biases of the convolutions are one more "tap" whose inputs are ones.
#include "kernels/cuda/sas_bwd_convolutions.cuh"
#include "kernels/cuda/sas_bwd_projections.cuh"
#include "kernels/cuda/sas_general.h"
#include "kernels/cuda/sas_wide.h"

namespace saslm::cuda {
namespace {

struct BwdLaunch {
  SasShape shape;
  int partition_tokens;
  bool x_vectors, dy_vectors, dx_vectors;
};

// Load, after the copies: x and, where nothing follows the convolutions, dY from [head][position] to lines,
// [position][channel]; then dZ2 = dY. A token by its warps.
template <class Dims, class B>
__device__ __forceinline__ void rows_to_lines(typename B::Shared& s, const WarpPlace<B>& at) {
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

// Compute, projections: from dY to dZ2, which takes Z2's place; dW2, db2, dW1, db1.
template <class Dims, class B, class LoadNext>
__device__ __forceinline__ void projections_bwd(typename B::Shared& s, WarpPlace<B>& at,
                                                PartitionSums<Dims, B>& sums, LoadNext load_next) {
  simt::block_sync();  // Z2 and dy of all tokens
  uint32_t positive[B::kRowTiles] = {}, dz3[B::kRowTiles][B::kColumns][2] = {};
  at.recompute_addresses();
  recompute_z3<Dims, B>(s, at, positive);
  simt::block_sync();  // relu(Z3)
  at.recompute_addresses();
  add_linear_gradient<Dims, B>(sums.proj2, s.dy, at, [&](auto& b, int k) {
    b.load_transposed(s.z3 + k * 16 * B::kRowPitch + at.column(), B::kRowPitch, at.lane);
  });
  at.recompute_addresses();
  compute_dz3<Dims, B>(s, at, positive, dz3, sums);
  simt::block_sync();  // relu(Z3) and dy have been read
  load_next();
  store_dz3<B>(s, at, dz3);
  simt::block_sync();  // dZ3
  at.recompute_addresses();
  add_linear_gradient<Dims, B>(sums.proj1, s.z3, at, [&](auto& b, int k) {
    const int line = at.input_column() * B::Mid::kPitch;
    b.load(block_lines<B>(s, 2 * k) + line, block_lines<B>(s, 2 * k + 1) + line, B::Mid::kPitch, at.lane);
  });
  at.recompute_addresses();
  float dz2[B::kPositionTiles][B::kHeadBlocks][4] = {};
  compute_dz2<Dims, B>(s, at, dz2);
  simt::block_sync();  // Z2 and dZ3 have been read
  store_lines<false>(s.z2[at.token()] + B::Mid::kFirst + at.position() * B::Mid::kPitch, B::Mid::kPitch, dz2,
                     at.lane);
  simt::bar_sync(at.barrier(), B::kTokenThreads);
}

// One partition, Tokens tokens at a time.
template <class Dims, int Tokens>
__global__ void __launch_bounds__(kSasBwdThreads, 1) sas_bwd_kernel(SasBwd<bf16> a, BwdLaunch launch) {
  using B = SasBwdBlock<Dims, Tokens>;
  auto& s = *simt::dyn_smem<typename B::Shared>();
  WarpPlace<B> at;
  load_weights(s.w, a.w);
  fill_zeros(s.raw[0], int((sizeof(s) - sizeof(s.w)) / sizeof(bf16)), int(threadIdx.x), kSasBwdThreads);
  simt::block_sync();

  int first = int(blockIdx.x) * launch.partition_tokens;
  const int end = min(first + launch.partition_tokens, int(launch.shape.tokens));
  const auto load = [&](int token) {
    if (token < end) load_x_and_dy<Dims, B>(s, a, token, end, at, launch.x_vectors, launch.dy_vectors);
  };
  const SasGradientLayout to(launch.shape);
  PartitionSums<Dims, B> sums;
  load(first);
  for (; first < end; first += Tokens) {
    // Load.
    simt::cp_async_wait<0>();
    simt::block_sync();  // x and dy are there, and nobody reads what the tokens before left
    if (a.rope.cos) unrotate_dy<Dims, B>(s, a, first, end, at);
    rows_to_lines<Dims, B>(s, at);
    if constexpr (!Dims::kProjections) load(first + Tokens);
    // Compute relu(Z1), Z2; from dY to dZ2; from dZ2 to dZ1.
    at.recompute_addresses();
    recompute_z1_z2<Dims, B>(s, at);
    if constexpr (Dims::kProjections) projections_bwd<Dims, B>(s, at, sums, [&] { load(first + Tokens); });
    at.recompute_addresses();
    compute_dz1<Dims, B>(s, at);
    simt::block_sync();  // dZ1 of all tokens
    // Store dx; compute the convolutions' gradients.
    at.recompute_addresses();
    store_dx<Dims, B>(s, a, at, first, end, launch.dx_vectors);
    at.recompute_addresses();
    add_convolution_gradients<Dims, B>(s, at, sums);
  }
  // Store the partition's sums.
  float* const partial = a.partial.data + blockIdx.x * to.size;
  store_convolution_gradients<Dims, B>(partial, to, launch.shape, at, sums);
  if constexpr (Dims::kProjections) {
    store_projection_gradients<Dims, B>(s, partial, to, at, sums);
    simt::block_sync();
    store_projection_bias_gradients<Dims, B>(s, partial, to);
  }
}

// Where the gradients of one parameter go, in the order of SasGradientLayout.
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
  const SasGradientLayout at(s);
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

template <class Dims, int Tokens>
void launch_bwd(Stream stream, const SasBwd<bf16>& a) {
  using Shared = typename SasBwdBlock<Dims, Tokens>::Shared;
  static_assert(sizeof(Shared) == sas_bwd_shared_bytes(size_of<Dims>, Tokens));
  const SasShape s = sas_shape(a.x, a.dy, a.w);
  const BwdLaunch launch{s, int(sas_partition_tokens(s.tokens)), vector_rows(a.x), vector_rows(a.dy),
                         vector_rows(a.dx)};
  simt::launch(sas_bwd_kernel<Dims, Tokens>, sas_partitions(s.tokens), kSasBwdThreads, sizeof(Shared), stream,
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
        launch_bwd<Dims, 4>(stream, a);
      else if constexpr (sas_bwd_takes(size_of<Dims>, 2))
        launch_bwd<Dims, 2>(stream, a);
    });
  }
  add_partials(stream, a.dw, a.partial.data, sas_shape(a.x, a.dy, a.w));
}

template void sas_bwd<float>(Stream, const SasBwd<float>&);
template void sas_bwd<bf16>(Stream, const SasBwd<bf16>&);

}  // namespace saslm::cuda
