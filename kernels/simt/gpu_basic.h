// GPU side: indices, barriers, shuffles, votes, vector access, scalars. CPU side: cpu_basic.h.
#pragma once
#include "kernels/simt/gpu_launch.h"

namespace saslm::simt {

// Place of this thread in a block laid out in one, two or three directions.
__device__ __forceinline__ int thread_rank() {
  return static_cast<int>((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
}
__device__ __forceinline__ int lane_id() {
  return thread_rank() % kWarp;
}
__device__ __forceinline__ int warp_id() {
  return thread_rank() / kWarp;
}

// v itself, but the compiler no longer knows what it came from: what is computed from it is computed here,
// not kept in registers around a loop.
__device__ __forceinline__ int launder(int v) {
  asm volatile("" : "+r"(v));
  return v;
}

template <class T>
__device__ __forceinline__ T* dyn_smem() {
  extern __shared__ __align__(1024) unsigned char simt_dynamic_shared[];
  return reinterpret_cast<T*>(simt_dynamic_shared);
}
__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// Barriers
__device__ __forceinline__ void block_sync() {
  __syncthreads();
}
__device__ __forceinline__ bool block_sync_or(bool p) {
  return __syncthreads_or(p) != 0;
}
__device__ __forceinline__ bool block_sync_and(bool p) {
  return __syncthreads_and(p) != 0;
}
__device__ __forceinline__ int block_sync_count(bool p) {
  return __syncthreads_count(p);
}
__device__ __forceinline__ void warp_sync(unsigned mask = kFullMask) {
  __syncwarp(mask);
}
__device__ __forceinline__ void bar_sync(int id, int threads) {
  asm volatile("barrier.cta.sync.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void bar_arrive(int id, int threads) {
  asm volatile("barrier.cta.arrive.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Shuffles and votes
template <class T>
__device__ __forceinline__ T shuffle(T v, int lane, int width = kWarp, unsigned mask = kFullMask) {
  return __shfl_sync(mask, v, lane, width);
}
template <class T>
__device__ __forceinline__ T shuffle_xor(T v, int lanes, int width = kWarp, unsigned mask = kFullMask) {
  return __shfl_xor_sync(mask, v, lanes, width);
}
template <class T>
__device__ __forceinline__ T shuffle_up(T v, int by, int width = kWarp, unsigned mask = kFullMask) {
  return __shfl_up_sync(mask, v, static_cast<unsigned>(by), width);
}
template <class T>
__device__ __forceinline__ T shuffle_down(T v, int by, int width = kWarp, unsigned mask = kFullMask) {
  return __shfl_down_sync(mask, v, static_cast<unsigned>(by), width);
}
__device__ __forceinline__ unsigned ballot(bool p, unsigned mask = kFullMask) {
  return __ballot_sync(mask, p);
}
__device__ __forceinline__ bool vote_any(bool p, unsigned mask = kFullMask) {
  return __any_sync(mask, p) != 0;
}
__device__ __forceinline__ bool vote_all(bool p, unsigned mask = kFullMask) {
  return __all_sync(mask, p) != 0;
}

// Vector access: V is a trivially copyable type of 2, 4, 8 or 16 bytes; p is aligned to its size.
template <class V, class T>
__device__ __forceinline__ V ldv(const T* p) {
  return *reinterpret_cast<const V*>(p);
}
template <class V, class T>
__device__ __forceinline__ void stv(T* p, const V& v) {
  *reinterpret_cast<V*>(p) = v;
}
// V of 16 bytes to global memory, by one store: what the compiler makes of stv depends on how it built v, and
// may be four.
template <class V, class T>
__device__ __forceinline__ void stv_global(T* p, const V& v) {
  static_assert(sizeof(V) == 16);
  const auto w = std::bit_cast<uint4>(v);
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(p)), "r"(w.x),
               "r"(w.y), "r"(w.z), "r"(w.w)
               : "memory");
}

// Scalars
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
// The same of max(0, each); a NaN stays one.
__device__ __forceinline__ uint32_t pack_relu_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.relu.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
__device__ __forceinline__ float2 unpack_bf16(uint32_t packed) {
  return {__uint_as_float(packed << 16), __uint_as_float(packed & 0xffff0000u)};
}
__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float log2_approx(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float rsqrt_approx(float x) {
  return rsqrtf(x);
}

// Atomics return the old value. A sum of floats by atomics does not repeat bit for bit.
template <class T>
__device__ __forceinline__ T atomic_add(T* p, std::type_identity_t<T> v) {
  return atomicAdd(p, v);
}
template <class T>
__device__ __forceinline__ T atomic_max(T* p, std::type_identity_t<T> v) {
  return atomicMax(p, v);
}
template <class T>
__device__ __forceinline__ T atomic_or(T* p, std::type_identity_t<T> v) {
  return atomicOr(p, v);
}
template <class T>
__device__ __forceinline__ T atomic_cas(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  return atomicCAS(p, expected, v);
}

}  // namespace saslm::simt
