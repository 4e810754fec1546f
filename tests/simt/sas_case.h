// For tests of the SAS simulation's kernels: a call with all its tensors, on the kernel's side and on that of
// its twin in double, and how far the two may differ.
//
// Tolerances count roundings: a value is rounded that many times (relu(Z1), Z2, relu(Z3), y; in backward
// also dY, dZ3, dZ2, dZ1, dx), each time by kEpsilon of a typical term. A float takes its sums' roundings
// instead: of n terms, sqrt(n) of them on average. A relu's slope jumps at 0, so no Z3 may come so near to 0
// that rounding Z2 to bf16 moves it across: Z2 is about +2 or -2 by head, a row of proj1 about +4/D or -4/D,
// so that every Z3 is about +8 or -8 by (head, feature). Z1 comes from what both sides have exactly.
#pragma once
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/types.h"
#include "kernels/sas.h"
#include "simt/twin.h"

namespace saslm::sas_tests {

enum class Order { BTHD, BHTD, gaps };  // gaps: between heads, so that no row of 16 bytes is aligned

struct Sizes {
  int64_t B = 1, T = 1, H = 1, D = 2, Hs = 1, E = 2, K = 1;
  bool convs = true, projections = true, rope = true;
  Order y = Order::BHTD, x = Order::BTHD;
  int64_t start = 0;
  simt::Schedules schedules = simt::Schedules::two;
};

template <class T>
constexpr double kForward = (std::is_same_v<T, bf16> ? 4 : 16) * kEpsilon<T>;
template <class T>
constexpr double kBackward = (std::is_same_v<T, bf16> ? 8 : 64) * kEpsilon<T>;
constexpr double kBefore = 3;  // what outputs hold before a kernel runs, and gaps after it too

// One of the weights with its gradient.
template <class T>
struct Parameter {
  Twin<T> w;
  Twin<float> dw;
  explicit Parameter(int64_t size) : w(size), dw(size) { dw.fill(kBefore); }
};

template <class T>
class Case {
 public:
  explicit Case(const Sizes& sizes)
      : s(sizes),
        x(elements(s.H, s.D)),
        y(elements(s.Hs, s.E)),
        dx(elements(s.H, s.D)),
        dy(elements(s.Hs, s.E)),
        cos((s.start + s.T) * s.E / 2),
        sin((s.start + s.T) * s.E / 2),
        conv1_w(s.Hs * s.H * s.K),
        conv1_b(s.Hs),
        conv2_w(s.Hs * s.Hs * s.K),
        conv2_b(s.Hs),
        proj1_w(s.E * s.D),
        proj1_b(s.E),
        proj2_w(s.E * s.E),
        proj2_b(s.E),
        partial(std::max<int64_t>(1, sas_bwd_scratch(shape()))) {
    x.draw(1);
    dy.draw(2);
    for (int64_t i = 0; i < cos.size(); ++i)
      cos.set(i, std::cos(0.1 * double(i))), sin.set(i, std::sin(0.1 * double(i)));
    conv1_w.w.draw(3, 0.3 / std::sqrt(double(s.H * s.K)));
    conv1_b.w.draw(4, 0.2);
    conv2_w.w.draw(5, 0.3 / std::sqrt(double(s.Hs * s.K)));
    proj1_b.w.draw(6, 0.2);
    proj2_w.w.draw(7, 0.3 / std::sqrt(double(s.E)));
    proj2_b.w.draw(8, 0.2);
    std::mt19937 random(9);
    for (int64_t h = 0; h < s.Hs; ++h) conv2_b.w.set(h, random() % 2 == 0 ? 2 : -2);
    std::normal_distribution<double> normal(0, 0.2 / double(s.D));
    for (int64_t e = 0; e < s.E; ++e) {
      const double mean = (random() % 2 == 0 ? 4 : -4) / double(s.D);
      for (int64_t d = 0; d < s.D; ++d) proj1_w.w.set(e * s.D + d, mean + normal(random));
    }
    // Of millions of Z1 some lie within rounding of 0, where the derivative of relu jumps.
    if (s.B * s.T > 1000)
      for (int64_t h = 0; h < s.Hs; ++h) conv1_b.w.set(h, random() % 2 == 0 ? 2 : -2);
    for (Twin<T>* out : {&y, &dx}) out->fill(kBefore);
  }

  SasShape shape() const { return {s.B * s.T, s.H, s.D, s.Hs, s.E, s.K, s.convs, s.projections}; }

  template <class S>
  SasFwd<S> fwd() {
    return {.y = heads<S>(y, s.Hs, s.E, s.y),
            .x = heads<S>(x, s.H, s.D, s.x),
            .w = weights<S>(),
            .rope = rope<S>(),
            .start = s.start};
  }
  template <class S>
  SasBwd<S> bwd() {
    using A = Accum<S>;
    return {.dx = heads<S>(dx, s.H, s.D, s.x),
            .dw = params<A>([](Parameter<T>& p) -> Twin<float>& { return p.dw; }),
            .dy = heads<S>(dy, s.Hs, s.E, s.y),
            .x = heads<S>(x, s.H, s.D, s.x),
            .w = weights<S>(),
            .rope = rope<S>(),
            .partial = partial.template vec<A>()};
  }
  std::vector<std::pair<const char*, Twin<float>*>> gradients() {
    std::vector<std::pair<const char*, Twin<float>*>> all;
    if (s.convs)
      all = {{"conv1.weight", &conv1_w.dw},
             {"conv1.bias", &conv1_b.dw},
             {"conv2.weight", &conv2_w.dw},
             {"conv2.bias", &conv2_b.dw}};
    if (s.projections)
      all.insert(all.end(), {{"proj1.weight", &proj1_w.dw},
                             {"proj1.bias", &proj1_b.dw},
                             {"proj2.weight", &proj2_w.dw},
                             {"proj2.bias", &proj2_b.dw}});
    return all;
  }

  Sizes s;
  Twin<T> x, y, dx, dy, cos, sin;
  Parameter<T> conv1_w, conv1_b, conv2_w, conv2_b, proj1_w, proj1_b, proj2_w, proj2_b;
  Twin<float> partial;

 private:
  int64_t elements(int64_t H, int64_t D) const { return s.B * s.T * (H * (D + 1) + 5); }

  template <class S>
  Heads<S> heads(Twin<T>& of, int64_t H, int64_t D, Order order) {
    S* const data = of.template data<S>();
    if (order == Order::BTHD) return heads_BTHD(data, s.B, s.T, H, D);
    if (order == Order::BHTD) return heads_BHTD(data, s.B, s.T, H, D);
    const int64_t token = H * (D + 1) + 5;
    return {data, s.B, s.T, H, D, s.T * token, token, D + 1};
  }
  template <class S, class Pick>
  SasParams<S> params(Pick pick) {
    SasParams<S> p{.kernel_size = s.K};
    if (s.convs) {
      p.conv1_w = pick(conv1_w).template mat<S>(s.Hs, s.H * s.K);
      p.conv1_b = pick(conv1_b).template vec<S>();
      p.conv2_w = pick(conv2_w).template mat<S>(s.Hs, s.Hs * s.K);
      p.conv2_b = pick(conv2_b).template vec<S>();
    }
    if (s.projections) {
      p.proj1_w = pick(proj1_w).template mat<S>(s.E, s.D);
      p.proj1_b = pick(proj1_b).template vec<S>();
      p.proj2_w = pick(proj2_w).template mat<S>(s.E, s.E);
      p.proj2_b = pick(proj2_b).template vec<S>();
    }
    return p;
  }
  template <class S>
  SasParams<const S> weights() {
    const SasParams<S> p = params<S>([](Parameter<T>& one) -> Twin<T>& { return one.w; });
    return {p.kernel_size, p.conv1_w, p.conv1_b, p.conv2_w, p.conv2_b,
            p.proj1_w,     p.proj1_b, p.proj2_w, p.proj2_b};
  }
  template <class S>
  RopeTable<const S> rope() {
    if (!s.rope) return {};
    return {cos.template mat<S>(s.start + s.T, s.E / 2), sin.template mat<S>(s.start + s.T, s.E / 2)};
  }
};

template <class T>
std::vector<T> copy(const Twin<T>& of) {
  return {&of[0], &of[0] + of.size()};
}
template <class T>
void expect_same_bits(const Twin<T>& now, std::vector<T>& before, const char* name) {
  if (before.empty()) before = copy(now);
  EXPECT_EQ(std::memcmp(before.data(), &now[0], before.size() * sizeof(T)), 0) << name << " does not repeat";
}

}  // namespace saslm::sas_tests
