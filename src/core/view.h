// Views: a pointer and a shape, without ownership. Every operation takes views.
//
//   Vec<T>    (size)            contiguous
//   Mat<T>    (rows, cols)      row r starts at data + r*stride; a row is contiguous
//   Heads<X>  (B, T, H, D)      per-head features; D is contiguous, the other strides are free,
//                               so [B,T,H,D] and [B,H,T,D] buffers are the same type
//
// A view of T converts to a view of const T. An empty view (data == nullptr) means "absent". Their functions
// are constexpr, so kernels can use them.
#pragma once
#include <cstdint>
#include <type_traits>

namespace saslm {

template <class T>
struct Vec {
  T* data = nullptr;
  int64_t size = 0;

  constexpr T& operator[](int64_t i) const { return data[i]; }
  constexpr explicit operator bool() const { return data != nullptr; }
  constexpr operator Vec<const T>() const requires(!std::is_const_v<T>) { return {data, size}; }
};

template <class T>
struct Mat {
  T* data = nullptr;
  int64_t rows = 0, cols = 0;
  int64_t stride = 0;  // elements from one row to the next; >= cols

  constexpr T* operator[](int64_t r) const { return data + r * stride; }
  constexpr explicit operator bool() const { return data != nullptr; }
  constexpr Mat row_range(int64_t first, int64_t count) const {
    return {data + first * stride, count, cols, stride};
  }
  constexpr Mat first_cols(int64_t count) const { return {data, rows, count, stride}; }
  constexpr bool contiguous() const { return stride == cols; }
  constexpr operator Mat<const T>() const requires(!std::is_const_v<T>) { return {data, rows, cols, stride}; }
};

template <class T>
Mat<T> mat(T* data, int64_t rows, int64_t cols) {
  return {data, rows, cols, cols};
}

template <class X>
struct Heads {
  X* data = nullptr;
  int64_t B = 0, T = 0, H = 0, D = 0;
  int64_t b_stride = 0, t_stride = 0, h_stride = 0;  // in elements; the D stride is 1

  constexpr X* at(int64_t b, int64_t t, int64_t h) const {
    return data + b * b_stride + t * t_stride + h * h_stride;
  }
  constexpr explicit operator bool() const { return data != nullptr; }
  constexpr Heads first_batches(int64_t count) const {
    return {data, count, T, H, D, b_stride, t_stride, h_stride};
  }
  // Positions first .. first+count-1 of every sequence.
  constexpr Heads time_range(int64_t first, int64_t count) const {
    return {data + first * t_stride, B, count, H, D, b_stride, t_stride, h_stride};
  }
  constexpr operator Heads<const X>() const requires(!std::is_const_v<X>) {
    return {data, B, T, H, D, b_stride, t_stride, h_stride};
  }
};

// The two usual layouts of a contiguous buffer.
template <class X>
Heads<X> heads_BTHD(X* data, int64_t B, int64_t T, int64_t H, int64_t D) {
  return {data, B, T, H, D, T * H * D, H * D, D};
}
template <class X>
Heads<X> heads_BHTD(X* data, int64_t B, int64_t T, int64_t H, int64_t D) {
  return {data, B, T, H, D, H * T * D, D, T * D};
}

}  // namespace saslm
