// Kernels against their CPU twins. A Twin<T> holds one tensor twice: as the kernel sees it (T, in memory of
// support.h), and as the twin in double sees it (kernels/cpu, whose own tests hold it to the plain formula
// and to numerical slopes). Inputs are drawn once and rounded to T, so both sides start from the same numbers
// and differ only by how they round on the way.
//
//   Twin<T> x(n), y(n), w(C);  x.draw(1);  w.draw(2);         // y is poisoned: NaN on both sides
//   const auto args = [&]<class S>(S) {                        // S: T for the kernel, double for the twin
//     return NormFwd<S>{.y = y.mat<S>(N, C), .x = x.mat<S>(N, C), .w = w.vec<S>(), ...};
//   };
//   cpu::norm_fwd<double>({}, args(double()));
//   for_every_schedule([&](Stream stream) {
//     y.poison();
//     cuda::norm_fwd<T>(stream, args(T()));
//     y.expect_near(2 * kEpsilon<T>);
//   });
#pragma once
#include <cmath>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "core/bf16.h"
#include "core/view.h"
#include "simt/support.h"
#include "simt/twin_log.h"

namespace saslm {

// Half the distance from 1 to its greater neighbour: what one rounding may cost, relative.
template <class T>
constexpr double kEpsilon = std::is_same_v<T, bf16> ? 0x1p-8 : 0x1p-24;

template <class T>
class Twin {
 public:
  explicit Twin(int64_t size)
      : size_(size), data_(static_cast<T*>(simt::allocate(bytes()))), twin_(size_t(size), kPoison) {
    poison();
  }
  ~Twin() { simt::release(data_, bytes()); }
  Twin(const Twin&) = delete;
  Twin& operator=(const Twin&) = delete;

  static constexpr const char* kTypeName = std::is_same_v<T, bf16>     ? "bf16"
                                           : std::is_same_v<T, double> ? "double"
                                                                       : "float";

  int64_t size() const { return size_; }
  T& operator[](int64_t i) const { return data_[i]; }
  double& twin(int64_t i) { return twin_[size_t(i)]; }

  // N(mean, deviation), rounded to T on both sides.
  void draw(unsigned seed, double deviation = 1, double mean = 0) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal(mean, deviation);
    for (int64_t i = 0; i < size_; ++i) set(i, normal(random));
  }
  void fill(double value) {
    for (int64_t i = 0; i < size_; ++i) set(i, value);
  }
  void set(int64_t i, double value) {
    data_[i] = T(float(value));
    twin_[size_t(i)] = to_double(data_[i]);
  }
  // NaN on the kernel's side alone: the kernel must write every element.
  void poison() {
    for (int64_t i = 0; i < size_; ++i)
      if constexpr (std::is_integral_v<T>)
        data_[i] = std::numeric_limits<T>::min();
      else
        data_[i] = T(float(kPoison));
  }
  // On the kernel's side alone: what a `+=` starts from.
  void restart(double value) {
    for (int64_t i = 0; i < size_; ++i) data_[i] = T(float(value));
  }

  // Views of S: of the twin when S is double, else the kernel's.
  template <class S>
  S* data() {
    if constexpr (std::is_same_v<S, double>) {
      return twin_.data();
    } else {
      static_assert(std::is_same_v<S, T>);
      return data_;
    }
  }
  template <class S>
  Vec<S> vec() {
    return {data<S>(), size_};
  }
  template <class S>
  Mat<S> mat(int64_t rows, int64_t cols, int64_t stride = 0, int64_t first = 0) {
    return {data<S>() + first, rows, cols, stride == 0 ? cols : stride};
  }

  // |kernel - twin| <= relative * (|twin| + typical), where typical is the root mean square of the twin: sums
  // cancel, so a small result may carry the rounding of large terms. NaN never passes.
  void expect_near(double relative, const char* name = "result") const {
    double squares = 0;
    for (const double x : twin_) squares += x * x;
    const double typical = std::sqrt(squares / double(size_));
    TwinLog log(name, kTypeName);
    for (int64_t i = 0; i < size_; ++i) {
      const double got = to_double(data_[i]), want = twin_[size_t(i)];
      const double allowed = relative * (std::abs(want) + typical);
      log.add(std::abs(got - want), allowed);
      ASSERT_LE(std::abs(got - want), allowed)
          << name << "[" << i << "]: got " << got << ", want " << want << ", typical " << typical;
    }
  }

 private:
  static constexpr double kPoison = std::numeric_limits<double>::quiet_NaN();
  static double to_double(T x) {
    if constexpr (std::is_same_v<T, bf16>)
      return float(x);
    else
      return double(x);
  }

  size_t bytes() const { return size_t(size_) * sizeof(T); }

  int64_t size_;
  T* data_;
  std::vector<double> twin_;
};

}  // namespace saslm
