// CPU side: ldmatrix and mma.sync. GPU side: gpu_mma.h. Lane l = 4 g + t, g = 0..7, t = 0..3:
//
//   ldmatrix_x4    lanes 8m .. 8m+7 give the rows of 8x8 matrix m, 16 aligned bytes each. r[m] of lane l is
//                  elements (g, 2t), (g, 2t+1) of matrix m, the first in the low half; _trans: of its
//                  transpose
//   ldmatrix_x2    the same for two matrices; the addresses of lanes 16.. are not used
//   mma a (16x16)  a[0]: (g, 2t..)  a[1]: (g+8, 2t..)  a[2]: (g, 2t+8..)  a[3]: (g+8, 2t+8..)  row, k
//       b (16x8)   b0: (2t.., g)    b1: (2t+8.., g)                                            k, column
//       d (16x8)   d[0]: (g, 2t)    d[1]: (g, 2t+1)    d[2]: (g+8, 2t)    d[3]: (g+8, 2t+1)    row, column
#pragma once
#include "kernels/simt/cpu_launch.h"

namespace saslm::simt {

void load_matrices(uint32_t* r, const void* row, int count, bool transpose, CallSite);
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, CallSite at = CallSite::here()) {
  load_matrices(r, row, 4, false, at);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, CallSite at = CallSite::here()) {
  load_matrices(r, row, 4, true, at);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* row, CallSite at = CallSite::here()) {
  load_matrices(r, row, 2, false, at);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row, CallSite at = CallSite::here()) {
  load_matrices(r, row, 2, true, at);
}

// The address a lane gives to ldmatrix, advanced in bytes.
struct MatrixRows {
  const unsigned char* address;

  MatrixRows operator+(int bytes) const { return {address + bytes}; }
};
inline MatrixRows matrix_rows(const void* row) {
  return {static_cast<const unsigned char*>(row)};
}
inline void ldmatrix_x4(uint32_t (&r)[4], MatrixRows row, CallSite at = CallSite::here()) {
  load_matrices(r, row.address, 4, false, at);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], MatrixRows row, CallSite at = CallSite::here()) {
  load_matrices(r, row.address, 4, true, at);
}
inline void ldmatrix_x2(uint32_t (&r)[2], MatrixRows row, CallSite at = CallSite::here()) {
  load_matrices(r, row.address, 2, false, at);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], MatrixRows row, CallSite at = CallSite::here()) {
  load_matrices(r, row.address, 2, true, at);
}

// d (16 x 8, float) += a (16 x 16, bf16) b (16 x 8, bf16)
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                  CallSite at = CallSite::here());

}  // namespace saslm::simt
