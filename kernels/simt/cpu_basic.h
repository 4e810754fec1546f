// CPU side: indices, barriers, shuffles, votes, vector access, scalars. GPU side: gpu_basic.h.
// The trailing CallSite of every primitive is for reports: kernels leave it out.
#pragma once
#include "kernels/simt/cpu_launch.h"

namespace saslm::simt {

inline int thread_rank() {
  return static_cast<int>((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
}
inline int lane_id() {
  return thread_rank() % kWarp;
}
inline int warp_id() {
  return thread_rank() / kWarp;
}
inline int launder(int v) {
  return v;
}

// Shared memory. A kernel asks through SIMT_SHARED and dyn_smem.
void* shared_variable(const void* identity, size_t bytes, size_t alignment, const char* name);
void* dynamic_shared(CallSite);
template <class T>
T* dyn_smem(CallSite at = CallSite::here()) {
  return static_cast<T*>(dynamic_shared(at));
}
uint32_t shared_address(const void* p, CallSite at = CallSite::here());

// Barriers
void block_sync(CallSite at = CallSite::here());
bool block_sync_or(bool p, CallSite at = CallSite::here());
bool block_sync_and(bool p, CallSite at = CallSite::here());
int block_sync_count(bool p, CallSite at = CallSite::here());
void warp_sync(unsigned mask = kFullMask, CallSite at = CallSite::here());
void bar_sync(int id, int threads, CallSite at = CallSite::here());
void bar_arrive(int id, int threads, CallSite at = CallSite::here());

// Shuffles and votes
uint64_t shuffle_bits(const char* what, unsigned mask, uint64_t bits, int from_lane, CallSite);
template <class T>
T shuffle_value(const char* what, unsigned mask, T v, int from_lane, CallSite at) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &v, sizeof v);
  bits = shuffle_bits(what, mask, bits, from_lane, at);
  std::memcpy(&v, &bits, sizeof v);
  return v;
}
template <class T>
T shuffle(T v, int lane, int width = kWarp, unsigned mask = kFullMask, CallSite at = CallSite::here()) {
  return shuffle_value("shuffle", mask, v, (lane_id() & ~(width - 1)) + (lane & (width - 1)), at);
}
template <class T>
T shuffle_xor(T v, int lanes, int width = kWarp, unsigned mask = kFullMask, CallSite at = CallSite::here()) {
  const int own = lane_id(), from = own ^ lanes;
  return shuffle_value("shuffle_xor", mask, v, from > (own | (width - 1)) ? own : from, at);
}
template <class T>
T shuffle_up(T v, int by, int width = kWarp, unsigned mask = kFullMask, CallSite at = CallSite::here()) {
  const int own = lane_id(), from = own - by;
  return shuffle_value("shuffle_up", mask, v, from < (own & ~(width - 1)) ? own : from, at);
}
template <class T>
T shuffle_down(T v, int by, int width = kWarp, unsigned mask = kFullMask, CallSite at = CallSite::here()) {
  const int own = lane_id(), from = own + by;
  return shuffle_value("shuffle_down", mask, v, from > (own | (width - 1)) ? own : from, at);
}
unsigned ballot(bool p, unsigned mask = kFullMask, CallSite at = CallSite::here());
bool vote_any(bool p, unsigned mask = kFullMask, CallSite at = CallSite::here());
bool vote_all(bool p, unsigned mask = kFullMask, CallSite at = CallSite::here());

// Vector access: V is a trivially copyable type of 2, 4, 8 or 16 bytes; p is aligned to its size.
void check_vector_access(const void* p, size_t bytes, bool is_write, CallSite);
template <class V, class T>
V ldv(const T* p, CallSite at = CallSite::here()) {
  static_assert(std::is_trivially_copyable_v<V> && std::has_single_bit(sizeof(V)) && sizeof(V) <= 16);
  check_vector_access(p, sizeof(V), false, at);
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class T>
void stv(T* p, const V& v, CallSite at = CallSite::here()) {
  static_assert(std::is_trivially_copyable_v<V> && std::has_single_bit(sizeof(V)) && sizeof(V) <= 16);
  check_vector_access(p, sizeof(V), true, at);
  std::memcpy(static_cast<void*>(p), &v, sizeof v);
}
// V of 16 bytes to global memory.
void check_global(const void* p, CallSite);
template <class V, class T>
void stv_global(T* p, const V& v, CallSite at = CallSite::here()) {
  static_assert(sizeof(V) == 16);
  check_global(p, at);
  stv(p, v, at);
}

// Scalars
inline uint32_t pack_bf16(float low, float high) {
  return bf16(low).bits | uint32_t{bf16(high).bits} << 16;
}
inline uint32_t pack_relu_bf16(float low, float high) {
  return pack_bf16(low < 0 ? 0.0f : low, high < 0 ? 0.0f : high);
}
inline float2 unpack_bf16(uint32_t packed) {
  return {std::bit_cast<float>(packed << 16), std::bit_cast<float>(packed & 0xffff0000u)};
}
inline float exp2_approx(float x) {
  return std::exp2(x);
}
inline float log2_approx(float x) {
  return std::log2(x);
}
inline float rsqrt_approx(float x) {
  return 1.0f / std::sqrt(x);
}

// Atomics return the old value. A sum of floats by atomics does not repeat bit for bit.
void note_atomic(void* p, size_t bytes, CallSite);
#if defined(__clang__)
#define SIMT_UNSEEN \
  __attribute__((no_sanitize("thread"), noinline))  // the race build sees note_atomic instead
#else
#define SIMT_UNSEEN
#endif
template <class T, class Update>
SIMT_UNSEEN T atomic_update(T* p, Update update, CallSite at) {
  note_atomic(p, sizeof(T), at);
  const T old = *p;
  *p = update(old);
  return old;
}
#undef SIMT_UNSEEN
template <class T>
T atomic_add(T* p, std::type_identity_t<T> v, CallSite at = CallSite::here()) {
  return atomic_update(
      p, [v](T old) { return T(old + v); }, at);
}
template <class T>
T atomic_max(T* p, std::type_identity_t<T> v, CallSite at = CallSite::here()) {
  return atomic_update(
      p, [v](T old) { return std::max(old, v); }, at);
}
template <class T>
T atomic_or(T* p, std::type_identity_t<T> v, CallSite at = CallSite::here()) {
  return atomic_update(
      p, [v](T old) { return T(old | v); }, at);
}
template <class T>
T atomic_cas(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v,
             CallSite at = CallSite::here()) {
  return atomic_update(
      p, [=](T old) { return old == expected ? v : old; }, at);
}

}  // namespace saslm::simt
