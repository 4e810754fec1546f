// GPU side of sm_90a: mbarrier (PTX ISA 9.7.13.15), bulk and tensor copies (9.7.9.27), wgmma (9.7.15),
// setmaxnreg. CPU side: cpu_sm90.h.
#pragma once
#include <cuda.h>

#include "kernels/simt/gpu_basic.h"
#include "kernels/simt/gpu_launch.h"

namespace saslm::simt {

// cuTensorMapEncodeTiled of the driver, as of CUDA 12.0. CudaError.
inline decltype(&cuTensorMapEncodeTiled) tensor_map_encoder() {
  constexpr const char* kName = "cuTensorMapEncodeTiled";
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found;
#if CUDART_VERSION >= 12080
  const cudaError_t error = cudaGetDriverEntryPointByVersion(kName, &entry, 12000, cudaEnableDefault, &found);
#else  // which has no other, and asks for the version it was built with
  const cudaError_t error = cudaGetDriverEntryPoint(kName, &entry, cudaEnableDefault, &found);
#endif
  if (error != cudaSuccess) throw CudaError(std::string(kName) + ": " + cudaGetErrorString(error));
  if (found != cudaDriverEntryPointSuccess)
    throw CudaError(std::string(kName) + ": the driver has none; it is too old");
  return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(entry);
}

// A 2-D array of bf16 in global memory, read in boxes with the 128-byte swizzle; zeros outside.
using TensorMap = CUtensorMap;
inline TensorMap tensor_map_2d(const bf16* base, uint64_t inner, uint64_t outer, uint64_t pitch_bytes,
                               uint32_t box_inner, uint32_t box_outer) {
  const cuuint64_t extents[2] = {inner, outer}, pitches[1] = {pitch_bytes};
  const cuuint32_t box[2] = {box_inner, box_outer}, steps[2] = {1, 1};
  TensorMap map;
  const CUresult result =
      tensor_map_encoder()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<bf16*>(base), extents,
                           pitches, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                           CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    throw CudaError("cuTensorMapEncodeTiled refused a map of " + std::to_string(outer) + " x " +
                    std::to_string(inner) + " with pitch " + std::to_string(pitch_bytes) + ": error " +
                    std::to_string(result));
  return map;
}

// mbarrier
__device__ __forceinline__ void mbar_init(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals)
               : "memory");
}
__device__ __forceinline__ void mbar_fence_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void mbar_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
__device__ __forceinline__ void mbar_expect_bytes(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void mbar_wait(uint64_t* barrier, int parity) {
  asm volatile(
      "{\n.reg .pred done;\nTRY_%=:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra "
      "TRY_%=;\n}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

// Copies by the engine, counted in bytes on an mbarrier
__device__ __forceinline__ void fence_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ __forceinline__ void bulk_copy(void* dst, const void* src, uint32_t bytes, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          shared_address(dst)),
      "l"(src), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}
__device__ __forceinline__ void tma_load_2d(void* dst, const TensorMap* map, int inner, int outer,
                                            uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, "
      "%3}], [%4];" ::"r"(shared_address(dst)),
      "l"(map), "r"(inner), "r"(outer), "r"(shared_address(barrier))
      : "memory");
}

// wgmma: all 128 threads of a warpgroup
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int N, int M>
__device__ __forceinline__ void wgmma_wait(float (&d)[M]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
  SIMT_UNROLL
  for (int i = 0; i < M; ++i) asm volatile("" : "+f"(d[i])::"memory");  // no use of d moves above the wait
}
template <int BTransposed>
__device__ __forceinline__ void wgmma_m64n64k16(float (&d)[32], uint64_t a, uint64_t b, bool accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, %32, %33, p, 1, 1, 0, %35;\n}"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]),
        "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]),
        "+f"(d[30]), "+f"(d[31])
      : "l"(a), "l"(b), "r"(int(accumulate)), "n"(BTransposed));
}

// Registers of a warpgroup: give some up, or take more.
template <int R>
__device__ __forceinline__ void release_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(R));
}
template <int R>
__device__ __forceinline__ void claim_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(R));
}

}  // namespace saslm::simt
