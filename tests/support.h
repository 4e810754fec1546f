// What the kernel tests share: poisoned buffers, reproducible random values, slopes, thread counts.
#pragma once
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "core/view.h"

namespace saslm::test {

// Distance from 1 to the next T: one rounding is wrong by at most kEps/2 of the value.
template <class T>
constexpr double kEps = std::numeric_limits<T>::epsilon();

// A matrix of NaN: an element that an operation should have set and did not stays NaN, and a sum that read
// an element it should not have becomes NaN. Rows are `gap` elements apart, and `gap` follows the last one.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t rows, int64_t cols = 1, int64_t gap = 0)
      : rows_(rows), cols_(cols), stride_(cols + gap), values_(size_t(rows * stride_), poison()) {}

  T* data() { return values_.data(); }
  int64_t size() const { return rows_ * cols_; }
  Mat<T> mat() { return {data(), rows_, cols_, stride_}; }
  Vec<T> vec() { return {data(), int64_t(values_.size())}; }  // only without gaps
  Mat<const T> cmat() { return mat(); }
  Vec<const T> cvec() { return vec(); }

  // Element i in row-major order, gaps not counted.
  T& operator[](int64_t i) { return values_[size_t(i / cols_ * stride_ + i % cols_)]; }
  T& operator()(int64_t r, int64_t c) { return values_[size_t(r * stride_ + c)]; }

  Buffer& fill(double value) {
    for (int64_t i = 0; i < size(); ++i) (*this)[i] = T(value);
    return *this;
  }
  // Normal values named by `stream`: the same in every type and with every gap, up to rounding.
  Buffer& fill_normal(std::string_view stream, double scale = 1, double mean = 0) {
    const uint64_t key = stream_key(1, stream);
    for (int64_t i = 0; i < size(); ++i) (*this)[i] = T(mean + scale * normal(key, uint64_t(i)));
    return *this;
  }

  bool gaps_untouched() const {
    for (int64_t r = 0; r < rows_; ++r)
      for (int64_t c = cols_; c < stride_; ++c)
        if (!std::isnan(values_[size_t(r * stride_ + c)])) return false;
    return true;
  }
  // Bit for bit, gaps included: NaN equals itself, 0 differs from -0.
  bool same_bits(const Buffer& other) const {
    return values_.size() == other.values_.size() &&
           std::memcmp(values_.data(), other.values_.data(), values_.size() * sizeof(T)) == 0;
  }

 private:
  static constexpr T poison() {
    return std::numeric_limits<T>::has_quiet_NaN ? std::numeric_limits<T>::quiet_NaN() : T(-1);
  }

  int64_t rows_, cols_, stride_;
  std::vector<T> values_;
};

// run() with a given number of OpenMP threads; the former number is restored.
template <class F>
auto with_threads(int threads, F&& run) {
  struct Restore {
    int former = omp_get_max_threads();
    ~Restore() { omp_set_num_threads(former); }
  } restore;
  omp_set_num_threads(threads);
  return run();
}

// Central difference of f() in the variable x: wrong by about f''' h^2/6 + 1e-16 |f|/h.
template <class F>
double slope(double& x, F&& f, double h = 1e-5) {
  const double kept = x;
  x = kept + h;
  const double above = f();
  x = kept - h;
  const double below = f();
  x = kept;
  return (above - below) / (2 * h);
}

// Every element of `gradient` is the slope of f() in that element of `x`. One thread: f() is small and called
// often.
template <class F>
void expect_slopes(const char* name, Buffer<double>& gradient, Buffer<double>& x, F&& f,
                   double tolerance = 1e-6) {
  ASSERT_EQ(gradient.size(), x.size()) << name;
  for (int64_t i = 0; i < x.size(); ++i) {
    const double wanted = with_threads(1, [&] { return slope(x[i], f); });
    ASSERT_NEAR(gradient[i], wanted, tolerance * std::max(1.0, std::abs(wanted))) << name << "[" << i << "]";
  }
}

// run() throws a ShapeError whose message contains every one of `words`.
template <class F>
void expect_shape_error(F&& run, const std::vector<std::string>& words) {
  try {
    run();
    ADD_FAILURE() << "no ShapeError";
  } catch (const ShapeError& error) {
    for (const std::string& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
          << "'" << error.what() << "' does not contain '" << word << "'";
  }
}

}  // namespace saslm::test
