// Contract: kernels/activation.h. Meaning: kernels/cpu/activation.cpp.
//
// A block a row, a pack of 16 bytes a thread and pass; rows may lie in wider ones, as gate and up of one
// matrix product do. Nothing is reused, so the floor is the traffic: 3 N F elements forward and 5 backward
// (swiglu), 2 and 3 (the others): 187 us for bf16 gelu (65536, 3072) at 4.3 TB/s. There a pack's traffic
// leaves a warp 220 instructions, 28 an element: exp2 and a reciprocal square root are one each, expf and a
// division would be 15.
#include "kernels/activation.h"
#include "kernels/cuda/device.cuh"

namespace saslm::cuda {

namespace {

constexpr int kThreads = 128;

// s = 1 / (1 + e^-z) and its complement 1 - s. The complement is e^-z s rather than a subtraction, so both
// keep their relative precision where they are small; e^-z ends before it overflows.
struct Sigmoid {
  float s, complement;
  __device__ __forceinline__ explicit Sigmoid(float z) {
    constexpr float kLog2E = 1.4426950408889634f, kLargest = 126;
    const float e = simt::exp2_approx(fminf(-kLog2E * z, kLargest)), root = simt::rsqrt_approx(1 + e);
    s = root * root;
    complement = e * s;
  }
};

struct Swiglu {
  static constexpr bool kGated = true;
  static __device__ __forceinline__ float y(float gate, float up) { return gate * Sigmoid(gate).s * up; }
  static __device__ __forceinline__ void bwd(float dy, float gate, float up, float& dgate, float& dup) {
    const Sigmoid sigmoid(gate);
    dgate = dy * up * sigmoid.s * (1 + gate * sigmoid.complement);
    dup = dy * gate * sigmoid.s;
  }
};

// (1 + tanh(z/2)) / 2 = sigmoid(z) with z = 2 sqrt(2/pi) (u + 0.044715 u^3).
struct Gelu {
  static constexpr bool kGated = false;
  static constexpr float kTwoRoot = 1.5957691216057307f, kCubic = 0.044715f;
  static __device__ __forceinline__ float z(float u) { return kTwoRoot * u * (1 + kCubic * u * u); }
  static __device__ __forceinline__ float y(float, float up) { return up * Sigmoid(z(up)).s; }
  static __device__ __forceinline__ void bwd(float dy, float, float up, float&, float& dup) {
    const Sigmoid sigmoid(z(up));
    dup = dy * sigmoid.s * (1 + up * kTwoRoot * (1 + 3 * kCubic * up * up) * sigmoid.complement);
  }
};

struct Relu2 {
  static constexpr bool kGated = false;
  static __device__ __forceinline__ float positive(float u) { return u < 0 ? 0 : u; }  // keeps NaN
  static __device__ __forceinline__ float y(float, float up) { return positive(up) * positive(up); }
  static __device__ __forceinline__ void bwd(float dy, float, float up, float&, float& dup) {
    dup = dy * 2 * positive(up);
  }
};

template <class T, class Op, int n>
__global__ void __launch_bounds__(kThreads) activation_fwd_kernel(ActivationFwd<T> a) {
  const int64_t row = blockIdx.x;
  for (int64_t c = threadIdx.x * n; c < a.up.cols; c += kThreads * n) {
    float gate[n] = {}, up[n], y[n];
    if constexpr (Op::kGated) load(gate, a.gate[row] + c);
    load(up, a.up[row] + c);
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) y[i] = Op::y(gate[i], up[i]);
    store(a.y[row] + c, y);
  }
}

template <class T, class Op, int n>
__global__ void __launch_bounds__(kThreads) activation_bwd_kernel(ActivationBwd<T> a) {
  const int64_t row = blockIdx.x;
  for (int64_t c = threadIdx.x * n; c < a.up.cols; c += kThreads * n) {
    float dy[n], gate[n] = {}, up[n], dgate[n], dup[n];
    load(dy, a.dy[row] + c);
    if constexpr (Op::kGated) load(gate, a.gate[row] + c);
    load(up, a.up[row] + c);
    SIMT_UNROLL
    for (int i = 0; i < n; ++i) Op::bwd(dy[i], gate[i], up[i], dgate[i], dup[i]);
    if constexpr (Op::kGated) store(a.dgate[row] + c, dgate);
    store(a.dup[row] + c, dup);
  }
}

template <class T, class Op>
void fwd(Stream stream, const ActivationFwd<T>& a) {
  constexpr int n = kPack<T>;
  const bool packs = in_packs<n>(a.y) && in_packs<n>(a.up) && (!Op::kGated || in_packs<n>(a.gate));
  simt::launch(packs ? activation_fwd_kernel<T, Op, n> : activation_fwd_kernel<T, Op, 1>,
               {a.up.rows, "activation_fwd"}, kThreads, 0, stream, a);
}

template <class T, class Op>
void bwd(Stream stream, const ActivationBwd<T>& a) {
  constexpr int n = kPack<T>;
  const bool packs = in_packs<n>(a.dy) && in_packs<n>(a.up) && in_packs<n>(a.dup) &&
                     (!Op::kGated || (in_packs<n>(a.gate) && in_packs<n>(a.dgate)));
  simt::launch(packs ? activation_bwd_kernel<T, Op, n> : activation_bwd_kernel<T, Op, 1>,
               {a.up.rows, "activation_bwd"}, kThreads, 0, stream, a);
}

}  // namespace

template <class T>
void activation_fwd(Stream stream, const ActivationFwd<T>& a) {
  a.check();
  if (a.up.rows == 0) return;
  switch (a.kind) {
    case Activation::swiglu:
      return fwd<T, Swiglu>(stream, a);
    case Activation::gelu:
      return fwd<T, Gelu>(stream, a);
    case Activation::relu2:
      return fwd<T, Relu2>(stream, a);
  }
}

template <class T>
void activation_bwd(Stream stream, const ActivationBwd<T>& a) {
  a.check();
  if (a.up.rows == 0) return;
  switch (a.kind) {
    case Activation::swiglu:
      return bwd<T, Swiglu>(stream, a);
    case Activation::gelu:
      return bwd<T, Gelu>(stream, a);
    case Activation::relu2:
      return bwd<T, Relu2>(stream, a);
  }
}

template void activation_fwd(Stream, const ActivationFwd<float>&);
template void activation_fwd(Stream, const ActivationFwd<bf16>&);
template void activation_bwd(Stream, const ActivationBwd<float>&);
template void activation_bwd(Stream, const ActivationBwd<bf16>&);

}  // namespace saslm::cuda
