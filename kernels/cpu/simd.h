// Portable vectors: GCC/Clang vector types as wide as a register, so one source serves float and double and
// AVX-512 and AVX2. A vector of two registers would be kept in memory by GCC, at a quarter of the speed or
// less.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace saslm::cpu {

#ifdef __AVX512F__
constexpr int kVectorBytes = 64;  // 32 registers
#else
constexpr int kVectorBytes = 32;  // 16 registers
#endif

template <class T>
struct SimdOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Simd = typename SimdOf<T>::type;
using SimdInt = int32_t __attribute__((vector_size(kVectorBytes)));

template <class T>
constexpr int64_t kLanes = kVectorBytes / sizeof(T);

// Unaligned load and store of one vector.
template <class T>
inline Simd<T> load(const T* p) {
  Simd<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
inline void store(T* p, Simd<T> v) {
  std::memcpy(p, &v, sizeof v);
}
template <class T>
inline Simd<T> splat(T value) {
  return value - Simd<T>{};  // a scalar operand is spread over all lanes
}

template <class T>
inline Simd<T> max(Simd<T> a, Simd<T> b) {
  return a > b ? a : b;
}

// Sum of the lanes by halving: a fixed order.
template <class T>
inline T lane_sum(Simd<T> v) {
  T lane[kLanes<T>];
  store(lane, v);
  for (int64_t width = kLanes<T> / 2; width > 0; width /= 2)
    for (int64_t i = 0; i < width; ++i) lane[i] += lane[i + width];
  return lane[0];
}
template <class T>
inline T lane_max(Simd<T> v) {
  T best = v[0];
  for (int64_t i = 1; i < kLanes<T>; ++i) best = v[i] > best ? v[i] : best;
  return best;
}

// e^x. float: x = n ln2 + r, |r| <= ln2/2, degree-6 polynomial for e^r, exponent added as an integer; within
// 2 ulp on [-87, 88], 0 below -87 (so exp(-inf) = 0), saturating above 88; NaN stays NaN. double: libm lane
// by lane, saturating above 709.
inline Simd<float> exp(Simd<float> x) {
  const Simd<float> low = splat(-87.0f), high = splat(88.0f);
  const Simd<float> clamped = x < low ? low : (x > high ? high : x);
  const Simd<float> shifted = clamped * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer
  const Simd<float> n = shifted - 12582912.0f;
  const Simd<float> r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  Simd<float> p = r * (1.0f / 720) + (1.0f / 120);
  p = p * r + (1.0f / 24);
  p = p * r + (1.0f / 6);
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  SimdInt bits;
  std::memcpy(&bits, &p, sizeof bits);
  bits += __builtin_convertvector(n, SimdInt) << 23;
  Simd<float> y;
  std::memcpy(&y, &bits, sizeof y);
  y = x < low ? Simd<float>{} : y;
  return x == x ? y : x;
}
inline Simd<double> exp(Simd<double> x) {
  for (int64_t i = 0; i < kLanes<double>; ++i) x[i] = std::exp(x[i] > 709 ? 709 : x[i]);
  return x;
}

// tanh x. float: below 0.55 x + x^3 times a polynomial in x^2 (Chebyshev, within 4e-9 of tanh x / x), above
// 1 - 2 / (e^2|x| + 1) with x's sign, so that small values keep their relative precision; within 2 ulp. NaN
// stays NaN. double: libm lane by lane.
inline Simd<float> tanh(Simd<float> x) {
  const Simd<float> size = x < 0 ? -x : x, s = x * x;
  Simd<float> p = s * -0.0066157547f + 0.0213127445f;
  p = p * s - 0.0539100665f;
  p = p * s + 0.133331176f;
  p = p * s - 0.33333332f;
  const Simd<float> far = 1.0f - 2.0f / (exp(size + size) + 1.0f);
  return size < 0.55f ? x + x * (s * p) : (x < 0 ? -far : far);
}
inline Simd<double> tanh(Simd<double> x) {
  for (int64_t i = 0; i < kLanes<double>; ++i) x[i] = std::tanh(x[i]);
  return x;
}

namespace simd_detail {

// Lanes of a and b, counted on from a to b. GCC 11 has no __builtin_shufflevector, clang no
// __builtin_shuffle.
template <class T, int64_t... lane>
inline Simd<T> shuffled(Simd<T> a, Simd<T> b) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, lane...);
#else
  using Index = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
  return __builtin_shuffle(a, b, Simd<Index>{Index(lane)...});
#endif
}

// One stage: swaps the upper right and lower left `s` x `s` corners of every 2s x 2s square across rows a, b.
template <class T, int64_t s, int64_t... lane>
inline void swap_corners(Simd<T>& a, Simd<T>& b, std::integer_sequence<int64_t, lane...>) {
  constexpr int64_t W = kLanes<T>;
  const Simd<T> upper = shuffled<T, (lane & s ? lane - s + W : lane)...>(a, b);
  b = shuffled<T, (lane & s ? lane + W : lane + s)...>(a, b);
  a = upper;
}

template <class T, int64_t s>
inline void transpose_stage(Simd<T> (&rows)[kLanes<T>]) {
#pragma GCC unroll 16
  for (int64_t i = 0; i < kLanes<T>; ++i)
    if (!(i & s)) swap_corners<T, s>(rows[i], rows[i + s], std::make_integer_sequence<int64_t, kLanes<T>>{});
  if constexpr (s > 1) transpose_stage<T, s / 2>(rows);
}

}  // namespace simd_detail

// A square of kLanes x kLanes, transposed in registers.
template <class T>
inline void transpose(Simd<T> (&rows)[kLanes<T>]) {
  simd_detail::transpose_stage<T, kLanes<T> / 2>(rows);
}

// The first n lanes; the others are loaded as `fill` and not stored.
template <class T>
inline Simd<T> load(const T* p, int64_t n, std::type_identity_t<T> fill = 0) {
  if (n >= kLanes<T>) return load(p);
  Simd<T> v = splat(fill);
  std::memcpy(&v, p, size_t(n) * sizeof(T));
  return v;
}
template <class T>
inline void store(T* p, Simd<T> v, int64_t n) {
  if (n >= kLanes<T>) return store(p, v);
  std::memcpy(p, &v, size_t(n) * sizeof(T));
}

// body(i, n) for every vector of 0 .. size-1: n lanes from i on, all kLanes but perhaps in the last. `body`
// is compiled twice: with n a constant for whole vectors, where load(p, n) is one instruction, and for the
// rest.
template <class T, class F>
inline void each_vector(int64_t size, F&& body) {
  int64_t i = 0;
  for (; i + kLanes<T> <= size; i += kLanes<T>) body(i, std::integral_constant<int64_t, kLanes<T>>{});
  if (i < size) body(i, size - i);
}

}  // namespace saslm::cpu
