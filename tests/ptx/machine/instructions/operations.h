// Operations on two numbers that several families share (PTX ISA, "Integer Arithmetic Instructions",
// "Floating Point Instructions"). Integers wrap; a division by 0 gives all ones, a remainder the dividend;
// min and max of a NaN and a number give the number, and order -0 below +0.
#pragma once
#include <cmath>
#include <type_traits>

namespace ptx {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      return T(Unsigned<T>(a) + Unsigned<T>(b));
    } else {
      return a + b;
    }
  }
};

struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      return T(Unsigned<T>(a) - Unsigned<T>(b));
    } else {
      return a - b;
    }
  }
};

struct Multiply {  // mul.lo
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      return T(uint64_t(a) * uint64_t(b));
    } else {
      return a * b;
    }
  }
};

struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0) return T(-1);
      if (std::is_signed_v<T> && b == T(-1)) return T(0 - Unsigned<T>(a));
    }
    return T(a / b);
  }
};

struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (a != a) return b;
      if (b != b) return a;
      if (a == b) return std::signbit(a) ? a : b;
    }
    return a < b ? a : b;
  }
};

struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (a != a) return b;
      if (b != b) return a;
      if (a == b) return std::signbit(a) ? b : a;
    }
    return a > b ? a : b;
  }
};

}  // namespace ptx
