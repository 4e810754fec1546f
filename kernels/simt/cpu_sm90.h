// CPU side of sm_90a: mbarrier, bulk and tensor copies, wgmma. GPU side: gpu_sm90.h.
//
// d of wgmma_m64n64k16, thread 32 w + 4 g + t of the warpgroup: d[4 j + 2 h + e] is row 16 w + 8 h + g,
// column 8 j + 2 t + e. a is 64 x 16 with K contiguous; b is stored (n, k) with K contiguous, or (k, n) when
// transposed.
#pragma once
#include "kernels/simt/cpu_basic.h"
#include "kernels/simt/cpu_launch.h"

namespace saslm::simt {

// A 2-D array of bf16 in global memory, read in boxes with the 128-byte swizzle; zeros outside.
struct TensorMap {  // stands for CUtensorMap
  const bf16* base;
  uint64_t extent[2];  // elements; [0] is contiguous
  uint64_t pitch_bytes;
  uint32_t box[2];
};
TensorMap tensor_map_2d(const bf16* base, uint64_t inner, uint64_t outer, uint64_t pitch_bytes,
                        uint32_t box_inner, uint32_t box_outer, CallSite at = CallSite::here());

// mbarrier: a phase completes when all arrivals and all expected bytes have come; its parity starts at 0.
void mbar_init(uint64_t* barrier, int arrivals, CallSite at = CallSite::here());
void mbar_fence_init(CallSite at = CallSite::here());
void mbar_arrive(uint64_t* barrier, CallSite at = CallSite::here());
void mbar_expect_bytes(uint64_t* barrier, uint32_t bytes, CallSite at = CallSite::here());  // arrives, too
void mbar_wait(uint64_t* barrier, int parity,
               CallSite at = CallSite::here());  // until the phase of that parity is over

// Copies by the engine, counted in bytes on an mbarrier
void fence_async(
    CallSite at = CallSite::here());  // ordinary stores to shared memory, then the engine or wgmma
void bulk_copy(void* dst, const void* src, uint32_t bytes, uint64_t* barrier, CallSite at = CallSite::here());
void tma_load_2d(void* dst, const TensorMap* map, int inner, int outer, uint64_t* barrier,
                 CallSite at = CallSite::here());

// wgmma: all 128 threads of a warpgroup
void wgmma_fence(CallSite at = CallSite::here());
void wgmma_commit(CallSite at = CallSite::here());
void wgmma_wait_groups(int unfinished, CallSite);
template <int N, int M>
void wgmma_wait(float (&)[M], CallSite at = CallSite::here()) {
  wgmma_wait_groups(N, at);
}
void wgmma_issue(float* d, int columns, uint64_t a, uint64_t b, bool accumulate, bool b_transposed, CallSite);
template <int BTransposed>
void wgmma_m64n64k16(float (&d)[32], uint64_t a, uint64_t b, bool accumulate,
                     CallSite at = CallSite::here()) {
  wgmma_issue(d, 64, a, b, accumulate, BTransposed != 0, at);
}

// Registers of a warpgroup: the CPU only checks the numbers.
template <int R>
void release_registers() {
  static_assert(R % 8 == 0 && R >= 24 && R <= 256);
}
template <int R>
void claim_registers() {
  static_assert(R % 8 == 0 && R >= 24 && R <= 256);
}

}  // namespace saslm::simt
