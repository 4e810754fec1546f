// ldmatrix and mma.sync. The fragment layouts are written as strides over (thread, value), as CuTe gives
// them: SM80_16x8x16_F32BF16BF16F32_TN.
#include "simt/layout/device_array.h"
#include "simt/layout/layout.h"

namespace saslm::simt::layout {
namespace {

// Of thread t, value v: offset m + 16 k in a, n + 8 k in b, m + 16 n in d; strides over the digits of t and
// v.
constexpr int place_in_a(int t, int v) {
  return t % 4 * 32 + t / 4 + v % 2 * 16 + v / 2 % 2 * 8 + v / 4 * 128;
}
constexpr int place_in_b(int t, int v) {
  return t % 4 * 16 + t / 4 + v % 2 * 8 + v / 2 * 64;
}
constexpr int place_in_d(int t, int v) {
  return t % 4 * 32 + t / 4 + v % 2 * 16 + v / 2 * 8;
}

__global__ void mma_kernel(float* d, const float* a, const float* b) {
  const int l = lane_id();
  uint32_t fa[4], fb[2];
  float fd[4];
  for (int i = 0; i < 4; ++i) fa[i] = pack_bf16(a[place_in_a(l, 2 * i)], a[place_in_a(l, 2 * i + 1)]);
  for (int i = 0; i < 2; ++i) fb[i] = pack_bf16(b[place_in_b(l, 2 * i)], b[place_in_b(l, 2 * i + 1)]);
  for (int i = 0; i < 4; ++i) fd[i] = d[place_in_d(l, i)];
  mma_m16n8k16(fd, fa, fb[0], fb[1]);
  for (int i = 0; i < 4; ++i) d[place_in_d(l, i)] = fd[i];
}
std::string mma(Stream stream) {
  std::vector<float> a(256), b(128), d(128), want(128);  // small integers: every sum is exact
  for (size_t i = 0; i < a.size(); ++i) a[i] = float(int(i * 37 % 17) - 8);
  for (size_t i = 0; i < b.size(); ++i) b[i] = float(int(i * 53 % 13) - 6);
  for (size_t i = 0; i < d.size(); ++i) d[i] = float(i);
  for (size_t m = 0; m < 16; ++m)
    for (size_t n = 0; n < 8; ++n) {
      want[m + 16 * n] = d[m + 16 * n];
      for (size_t k = 0; k < 16; ++k) want[m + 16 * n] += a[m + 16 * k] * b[n + 8 * k];
    }
  DeviceArray<float> device_a(a), device_b(b), device_d(d);
  launch(mma_kernel, 1, 32, 0, stream, device_d.data(), device_a.data(), device_b.data());
  return compare(device_d.values(), want);
}

// Lane l gives row l % 8 of matrix l / 8; rows are 48 bytes apart, matrices 400. Element (row, column) of
// matrix m is 100 m + 10 row + column.
constexpr int kRow = 24, kMatrix = 200;
__global__ void ldmatrix_kernel(unsigned* o) {
  uint16_t* s = dyn_smem<uint16_t>();
  const int l = lane_id();
  for (int c = 0; c < 8; ++c)
    s[l / 8 * kMatrix + l % 8 * kRow + c] = uint16_t(100 * (l / 8) + 10 * (l % 8) + c);
  warp_sync();
  const uint16_t* row = s + l / 8 * kMatrix + l % 8 * kRow;
  uint32_t x4[4], x4_trans[4], x2[2], x2_trans[2];
  ldmatrix_x4(x4, row);
  ldmatrix_x4_trans(x4_trans, row);
  ldmatrix_x2(x2, s + l / 8 % 2 * kMatrix + l % 8 * kRow);
  ldmatrix_x2_trans(x2_trans, s + l / 8 % 2 * kMatrix + l % 8 * kRow);
  uint32_t y4[4], y4_trans[4], y2[2], y2_trans[2];  // the same by an address that is advanced in bytes
  const MatrixRows first = matrix_rows(s + l % 8 * kRow);
  constexpr int kBytes = kMatrix * int(sizeof(uint16_t));
  ldmatrix_x4(y4, first + l / 8 * kBytes);
  ldmatrix_x4_trans(y4_trans, first + l / 8 * kBytes);
  ldmatrix_x2(y2, first + l / 8 % 2 * kBytes);
  ldmatrix_x2_trans(y2_trans, first + l / 8 % 2 * kBytes);
  const auto both = [](uint32_t x, uint32_t y) { return x == y ? x : ~0u; };
  for (int m = 0; m < 4; ++m) {
    o[l * 12 + m] = both(x4[m], y4[m]);
    o[l * 12 + 4 + m] = both(x4_trans[m], y4_trans[m]);
  }
  for (int m = 0; m < 2; ++m) {
    o[l * 12 + 8 + m] = both(x2[m], y2[m]);
    o[l * 12 + 10 + m] = both(x2_trans[m], y2_trans[m]);
  }
}
std::string ldmatrix(Stream stream) {
  std::vector<unsigned> want;
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 12; ++i) {
      const int m = i < 8 ? i % 4 : i % 2, row = l / 4, column = l % 4 * 2;
      const bool transposed = i < 8 ? i >= 4 : i >= 10;
      const int first = transposed ? 100 * m + 10 * column + row : 100 * m + 10 * row + column;
      want.push_back(unsigned(first | (first + (transposed ? 10 : 1)) << 16));
    }
  DeviceArray<unsigned> o(std::vector<unsigned>(32 * 12, 0));
  launch(ldmatrix_kernel, 1, 32, 4 * kMatrix * sizeof(uint16_t), stream, o.data());
  return compare(o.values(), want);
}

}  // namespace

std::vector<Check> matrix_checks() {
  return {{"mma m16n8k16", mma}, {"ldmatrix", ldmatrix}};
}

}  // namespace saslm::simt::layout
