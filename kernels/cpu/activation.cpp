// Contract: kernels/activation.h.
#include "kernels/activation.h"

#include <algorithm>

#include "core/dims.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace saslm::cpu {

namespace {

constexpr int64_t kElementsPerTask = 16384;

// s = 1 / (1 + e^-z) and its complement 1 - s. The complement is e^-z s rather than a subtraction, so both
// keep their relative precision where they are small.
template <class T>
struct Sigmoid {
  Simd<T> s, complement;
  explicit Sigmoid(Simd<T> z) {
    const Simd<T> e = exp(-z);
    s = T(1) / (T(1) + e);
    complement = e * s;
  }
};

template <class T>
struct Swiglu {
  static Simd<T> y(Simd<T> gate, Simd<T> up) { return gate * Sigmoid<T>(gate).s * up; }
  static void bwd(Simd<T> dy, Simd<T> gate, Simd<T> up, Simd<T>& dgate, Simd<T>& dup) {
    const Sigmoid<T> sigmoid(gate);
    dgate = dy * up * sigmoid.s * (T(1) + gate * sigmoid.complement);
    dup = dy * gate * sigmoid.s;
  }
};

// With z = 2 sqrt(2/pi) (u + 0.044715 u^3), (1 + tanh(z/2)) / 2 = sigmoid(z): no difference of near equals,
// so large negative u keep their relative precision.
template <class T>
struct Gelu {
  static constexpr T kTwoRoot = T(1.5957691216057307), kCubic = T(0.044715);
  static Simd<T> z(Simd<T> u) { return kTwoRoot * u * (T(1) + kCubic * u * u); }
  static Simd<T> y(Simd<T>, Simd<T> up) { return up * Sigmoid<T>(z(up)).s; }
  static void bwd(Simd<T> dy, Simd<T>, Simd<T> up, Simd<T>&, Simd<T>& dup) {
    const Sigmoid<T> sigmoid(z(up));
    const Simd<T> dz = kTwoRoot * (T(1) + 3 * kCubic * up * up);
    dup = dy * sigmoid.s * (T(1) + up * dz * sigmoid.complement);
  }
};

template <class T>
struct Relu2 {
  static Simd<T> positive(Simd<T> u) { return u < T(0) ? Simd<T>{} : u; }  // keeps NaN
  static Simd<T> y(Simd<T>, Simd<T> up) { return positive(up) * positive(up); }
  static void bwd(Simd<T> dy, Simd<T>, Simd<T> up, Simd<T>&, Simd<T>& dup) { dup = dy * 2 * positive(up); }
};

// row(r) for every row, whole rows per task.
template <class F>
void each_row(int64_t rows, int64_t cols, F&& row) {
  const int64_t per_task = std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, cols));
  parallel_for(ceil_div(rows, per_task), [&](int64_t task) {
    const int64_t end = std::min(rows, (task + 1) * per_task);
    for (int64_t r = task * per_task; r < end; ++r) row(r);
  });
}

template <class T, class Op>
void fwd(const ActivationFwd<T>& a) {
  each_row(a.up.rows, a.up.cols, [&](int64_t r) {
    each_vector<T>(a.up.cols, [&](int64_t c, auto n) {
      const Simd<T> gate = a.gate ? load(a.gate[r] + c, n) : Simd<T>{};
      store(a.y[r] + c, Op::y(gate, load(a.up[r] + c, n)), n);
    });
  });
}

template <class T, class Op>
void bwd(const ActivationBwd<T>& a) {
  each_row(a.up.rows, a.up.cols, [&](int64_t r) {
    each_vector<T>(a.up.cols, [&](int64_t c, auto n) {
      const Simd<T> gate = a.gate ? load(a.gate[r] + c, n) : Simd<T>{};
      Simd<T> dgate{}, dup;
      Op::bwd(load(a.dy[r] + c, n), gate, load(a.up[r] + c, n), dgate, dup);
      if (a.gate) store(a.dgate[r] + c, dgate, n);
      store(a.dup[r] + c, dup, n);
    });
  });
}

}  // namespace

template <class T>
void activation_fwd(Stream, const ActivationFwd<T>& a) {
  a.check();
  switch (a.kind) {
    case Activation::swiglu:
      return fwd<T, Swiglu<T>>(a);
    case Activation::gelu:
      return fwd<T, Gelu<T>>(a);
    case Activation::relu2:
      return fwd<T, Relu2<T>>(a);
  }
}

template <class T>
void activation_bwd(Stream, const ActivationBwd<T>& a) {
  a.check();
  switch (a.kind) {
    case Activation::swiglu:
      return bwd<T, Swiglu<T>>(a);
    case Activation::gelu:
      return bwd<T, Gelu<T>>(a);
    case Activation::relu2:
      return bwd<T, Relu2<T>>(a);
  }
}

template void activation_fwd(Stream, const ActivationFwd<float>&);
template void activation_fwd(Stream, const ActivationFwd<double>&);
template void activation_bwd(Stream, const ActivationBwd<float>&);
template void activation_bwd(Stream, const ActivationBwd<double>&);

}  // namespace saslm::cpu
