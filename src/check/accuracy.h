// Error bounds for a correct kernel, relative to the expected value and to a typical one.
//
//   R eps(T)            R roundings to the storage type T on the way, each of half a unit in the last place
//                       of a typical term; twice that is allowed. Of a result stored in T, its own besides.
//   16 sqrt(k) eps(f)   a sum of k terms in float. Rounded, the error of one is a random walk: eps/sqrt(3) of
//                       every partial sum, together eps sqrt(k/6) of a sum whose terms cancel and
//                       eps sqrt(k)/3 of one whose terms do not; six deviations, since millions are looked
//                       at, are 2.5 eps sqrt(k). Tensor cores truncate: a quarter of 2^-23 a step of 16 terms
//                       on average, 0.03 k eps, less than 8 sqrt(k) eps up to k = 65,000. 16 is twice what
//                       that needs.
//   64 eps(f)           approximations of exp, log, rsqrt by up to 2 units, and divisions
//
// A missing or doubled term, a wrong row, mask or scale gives an error of the term's size, about 100 times
// these bounds in bf16 and 10,000 times in float, if a result has fewer than 1/eps(T) terms.
#pragma once
#include <algorithm>
#include <cmath>

#include "check/image.h"
#include "ops/ops.h"

namespace saslm {

// Half the distance from 1 to the next larger number.
template <class T>
constexpr double kRounding = std::is_same_v<T, bf16> ? 0x1p-8 : 0x1p-24;

// Number of roundings to T, terms of the longest sum, and the typical value (image.h).
struct Accuracy {
  double roundings = 0, terms = 1;
  Scale scale = Scale::all;
};
template <class T>
double relative_bound(const Accuracy& a, bool stored_in_T) {
  return 2 * (a.roundings + (stored_in_T ? 1 : 0)) * kRounding<T> +
         (16 * std::sqrt(a.terms) + 64) * kRounding<float>;
}

inline Accuracy over(std::initializer_list<int64_t> sums, double roundings = 0) {
  return {roundings, double(std::max(sums))};
}
template <class Args>
Accuracy accuracy_of(const Args&) {
  return {};  // elementwise
}
template <class T>
Accuracy accuracy_of(const EmbeddingBwd<T>& a) {
  return over({a.dx.rows});
}
template <class T>
Accuracy accuracy_of(const NormFwd<T>& a) {
  return over({a.x.cols});
}
template <class T>
Accuracy accuracy_of(const NormBwd<T>& a) {
  return over({a.x.cols, a.x.rows});
}
template <class T>
Accuracy accuracy_of(const MatmulFwd<T>& a) {
  return over({a.x.cols});
}
template <class T>
Accuracy accuracy_of(const MatmulBwd<T>& a) {
  return over({a.dy.cols, a.dy.rows});
}
template <class T>
Accuracy accuracy_of(const RepeatHeadsBwd<T>& a) {
  return over({a.dy.H});
}
template <class T>
Accuracy accuracy_of(const TensorProductFwd<T>& a) {
  return over({a.a.H});
}
template <class T>
Accuracy accuracy_of(const TensorProductBwd<T>& a) {
  return over({a.dy.H, a.dy.D});
}
template <class T>
Accuracy accuracy_of(const HeadEmbeddingBwd<T>& a) {
  return over({a.dy.H, a.dy.B * a.dy.T});
}
// relu(Z1), Z2 and relu(Z3); backward also rotates dy, and dZ3, dZ2 and dZ1.
template <class T>
Accuracy accuracy_of(const SasFwd<T>& a) {
  return over({a.x.H * a.w.kernel_size, a.y.H * a.w.kernel_size, a.x.D, a.y.D}, 3);
}
template <class T>
Accuracy accuracy_of(const SasBwd<T>& a) {
  return over({a.dy.H * a.w.kernel_size, a.dy.D, a.x.B * a.x.T * a.dy.H}, 7);
}
// Probabilities; backward also their gradients.
template <class T>
Accuracy accuracy_of(const AttentionFwd<T>& a) {
  return {1, double(std::max(a.k.T, a.q.D)), Scale::row};
}
template <class T>
Accuracy accuracy_of(const AttentionBwd<T>& a) {
  return {2, double(std::max(a.q.T * a.q.H, a.q.D)), Scale::row};
}
// Scores are differences of sums over the features of all heads.
template <class T>
Accuracy accuracy_of(const HeadGatesFwd<T>& a) {
  return over({a.x.H});
}
template <class T>
Accuracy accuracy_of(const HeadGatesBwd<T>& a) {
  return over({a.x.H * a.x.D});
}
template <class T>
Accuracy accuracy_of(const CrossEntropy<T>& a) {
  return {0, double(a.vocab()), Scale::none};
}

}  // namespace saslm
