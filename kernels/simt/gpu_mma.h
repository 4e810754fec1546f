// GPU side: ldmatrix and mma.sync, from sm_80 (PTX ISA 9.7.14.5). CPU side: cpu_mma.h, which draws the
// layouts.
#pragma once
#include "kernels/simt/gpu_basic.h"

namespace saslm::simt {

// Where the rows of matrices lie in shared memory: the address a lane gives to ldmatrix, in one register,
// which a loop that is not unrolled advances in bytes.
struct MatrixRows {
  uint32_t address;

  __device__ __forceinline__ MatrixRows operator+(int bytes) const {
    return {address + static_cast<uint32_t>(bytes)};
  }
};
__device__ __forceinline__ MatrixRows matrix_rows(const void* row) {
  return {static_cast<uint32_t>(launder(static_cast<int>(shared_address(row))))};
}

__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], MatrixRows row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row.address)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], MatrixRows row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row.address)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], MatrixRows row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(row.address)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], MatrixRows row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(row.address)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  ldmatrix_x4(r, MatrixRows{shared_address(row)});
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  ldmatrix_x4_trans(r, MatrixRows{shared_address(row)});
}
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
  ldmatrix_x2(r, MatrixRows{shared_address(row)});
}
__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
  ldmatrix_x2_trans(r, MatrixRows{shared_address(row)});
}

// d (16 x 8, float) += a (16 x 16, bf16) b (16 x 8, bf16)
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                             uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace saslm::simt
