// mbarrier, bulk and tensor copies, wgmma with 128-byte swizzled operands (CuTe: GMMA::Layout_K_SW128_Atom
// and Layout_MN_SW128_Atom; Swizzle<3,4,3> on bytes).
#include "kernels/simt/simt_sm90.h"
#include "simt/layout/device_array.h"
#include "simt/layout/layout.h"

namespace saslm::simt::layout {
namespace {

constexpr int kEdge = 64;  // of every tile: 128-byte rows of bf16

constexpr int swizzle_128(int byte) {
  return byte ^ (byte >> 7 & 7) << 4;
}

// Three pieces through two buffers, each filled again once all have read it.
__global__ void bulk_kernel(int* o, const int* x) {
  int* s = dyn_smem<int>();
  SIMT_SHARED(uint64_t[2], full);
  SIMT_SHARED(uint64_t[2], empty);
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; ++i) {
      mbar_init(&full[i], 1);
      mbar_init(&empty[i], 32);
    }
    mbar_fence_init();
  }
  block_sync();
  if (warp_id() == 1) {
    if (lane_id() != 0) return;
    for (int piece = 0; piece < 3; ++piece) {
      mbar_wait(&empty[piece % 2], (piece / 2 & 1) ^ 1);
      mbar_expect_bytes(&full[piece % 2], 128);
      bulk_copy(s + piece % 2 * 32, x + piece * 32, 128, &full[piece % 2]);
    }
  } else {
    for (int piece = 0; piece < 3; ++piece) {
      mbar_wait(&full[piece % 2], piece / 2 & 1);
      o[piece * 32 + lane_id()] = s[piece % 2 * 32 + 31 - lane_id()];
      mbar_arrive(&empty[piece % 2]);
    }
  }
}
std::string bulk_copies(Stream stream) {
  std::vector<int> in(96), want(96);
  for (int i = 0; i < 96; ++i) in[size_t(i)] = i, want[size_t(i)] = i / 32 * 32 + 31 - i % 32;
  DeviceArray<int> x(in), o(std::vector<int>(96, -1));
  launch(bulk_kernel, 1, 64, 256, stream, o.data(), x.data());
  return compare(o.values(), want);
}

__global__ void tensor_kernel(uint32_t* o, const __grid_constant__ TensorMap map, int inner, int outer) {
  uint16_t* s = dyn_smem<uint16_t>();
  SIMT_SHARED(uint64_t, barrier);
  if (threadIdx.x == 0) {
    mbar_init(&barrier, 1);
    mbar_fence_init();
    mbar_expect_bytes(&barrier, kEdge * 16 * 2);
    tma_load_2d(s, &map, inner, outer, &barrier);
  }
  block_sync();
  mbar_wait(&barrier, 0);
  for (int i = int(threadIdx.x); i < kEdge * 16; i += 32) o[i] = s[i];
}
// A box of 16 rows that hangs over the left, the right and the lower edge.
std::string tensor_copy(Stream stream) {
  const int rows = 20, columns = 40, inner = -8, outer = 12;
  std::vector<bf16> in(rows * columns);
  for (size_t i = 0; i < in.size(); ++i) in[i] = bf16::from_bits(uint16_t(i + 1));
  DeviceArray<bf16> x(in);
  DeviceArray<uint32_t> o(std::vector<uint32_t>(kEdge * 16, 99));
  const TensorMap map = tensor_map_2d(x.data(), columns, rows, columns * 2, kEdge, 16);
  launch(tensor_kernel, 1, 32, kEdge * 16 * 2, stream, o.data(), map, inner, outer);
  std::vector<uint32_t> want(kEdge * 16);
  for (int r = 0; r < 16; ++r)
    for (int c = 0; c < kEdge; ++c) {
      const int row = outer + r, column = inner + c;
      const bool inside = row < rows && column >= 0 && column < columns;
      want[size_t(swizzle_128(r * 128 + c * 2) / 2)] = inside ? uint32_t(row * columns + column + 1) : 0;
    }
  return compare(o.values(), want);
}

// d of thread t, value v stands at m + 64 n: strides over the digits of t and v.
constexpr int place_in_d(int t, int v) {
  return t % 4 * 128 + t / 4 % 8 + t / 32 * 16 + v % 2 * 64 + v / 2 % 2 * 8 + v / 4 * 512;
}
template <int BTransposed>
__global__ void wgmma_kernel(float* d, const float* a, const float* b) {  // a (m, k), b (n, k), both 64 x 64
  char* s = dyn_smem<char>();
  const int t = int(threadIdx.x);
  for (int i = t; i < kEdge * kEdge; i += 128) {
    const int row = i / kEdge, k = i % kEdge;
    stv(s + swizzle_128(row * 128 + k * 2), bf16(a[i]));
    stv(s + 8192 + swizzle_128(BTransposed ? k * 128 + row * 2 : row * 128 + k * 2), bf16(b[i]));
  }
  fence_async();
  block_sync();
  float sum[32];
  for (int v = 0; v < 32; ++v) sum[v] = d[place_in_d(t, v)];
  const uint64_t da = descriptor_swizzle_128(s, 16, 1024);
  const uint64_t db = descriptor_swizzle_128(s + 8192, BTransposed ? 8192 : 16, 1024);
  wgmma_fence();
  SIMT_UNROLL
  for (int k = 0; k < 4; ++k)  // 16 of K: 32 bytes of a row, or 16 rows; a descriptor counts in 16 bytes
    wgmma_m64n64k16<BTransposed>(sum, da + uint64_t(k * 2), db + uint64_t(k * (BTransposed ? 128 : 2)), true);
  wgmma_commit();
  wgmma_wait<0>(sum);
  for (int v = 0; v < 32; ++v) d[place_in_d(t, v)] = sum[v];
}
template <int BTransposed>
std::string wgmma(Stream stream) {
  std::vector<float> a(kEdge * kEdge), b(a), d(a), want(a);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = float(int(i * 37 % 17) - 8);
    b[i] = float(int(i * 53 % 13) - 6);
    d[i] = float(i);
  }
  for (size_t m = 0; m < kEdge; ++m)
    for (size_t n = 0; n < kEdge; ++n) {
      want[m + 64 * n] = d[m + 64 * n];
      for (size_t k = 0; k < kEdge; ++k) want[m + 64 * n] += a[m * kEdge + k] * b[n * kEdge + k];
    }
  DeviceArray<float> device_a(a), device_b(b), device_d(d);
  launch(wgmma_kernel<BTransposed>, 1, 128, 16384, stream, device_d.data(), device_a.data(), device_b.data());
  return compare(device_d.values(), want);
}

}  // namespace

std::vector<Check> sm90_checks() {
  return {{"mbarrier and bulk copies", bulk_copies},
          {"tensor copy, 128-byte swizzle", tensor_copy},
          {"wgmma, b K-major", wgmma<0>},
          {"wgmma, b transposed", wgmma<1>}};
}

}  // namespace saslm::simt::layout
