// For tests of the SAS simulation on a CPU: a call with all its tensors, and the formula in double.
#pragma once
#include <ostream>
#include <utility>
#include <vector>

#include "kernels/sas.h"
#include "tests/support.h"

namespace saslm::sas_tests {

using namespace test;

struct Size {
  int64_t B, T, H, D, Hs, E, K;  // K = 0: no convolutions; E = 0: no projections
  bool rope = false;
  int64_t start = 0;
};
inline std::ostream& operator<<(std::ostream& out, const Size& s) {
  return out << "B" << s.B << " T" << s.T << " H" << s.H << " D" << s.D << " Hs" << s.Hs << " E" << s.E
             << " K" << s.K << (s.rope ? " rope" : "");
}

// Values of every parameter, for weights and for gradients alike.
template <class T>
struct Params {
  Buffer<T> conv1_w, conv1_b, conv2_w, conv2_b, proj1_w, proj1_b, proj2_w, proj2_b;

  Params(const Size& s, int64_t E, int64_t gap)
      : conv1_w(s.Hs, s.H * s.K, gap),
        conv1_b(s.Hs),
        conv2_w(s.Hs, s.Hs * s.K, gap),
        conv2_b(s.Hs),
        proj1_w(E, s.D, gap),
        proj1_b(E),
        proj2_w(E, E, gap),
        proj2_b(E) {}

  std::vector<std::pair<const char*, Buffer<T>*>> present(const Size& s) {
    decltype(present(s)) all = {{"conv1_w", &conv1_w}, {"conv1_b", &conv1_b}, {"conv2_w", &conv2_w},
                                {"conv2_b", &conv2_b}, {"proj1_w", &proj1_w}, {"proj1_b", &proj1_b},
                                {"proj2_w", &proj2_w}, {"proj2_b", &proj2_b}};
    if (!s.E) all.resize(4);
    if (!s.K) all.erase(all.begin(), all.begin() + 4);
    return all;
  }
  template <class S>
  SasParams<S> view(const Size& s) {
    SasParams<S> p;
    p.kernel_size = s.K;
    if (s.K)
      p.conv1_w = conv1_w.mat(), p.conv1_b = conv1_b.vec(), p.conv2_w = conv2_w.mat(),
      p.conv2_b = conv2_b.vec();
    if (s.E)
      p.proj1_w = proj1_w.mat(), p.proj1_b = proj1_b.vec(), p.proj2_w = proj2_w.mat(),
      p.proj2_b = proj2_b.vec();
    return p;
  }
};

// Every tensor the operation touches: x and dx lie as [B,T,H,D] inside wider rows, y and dy as [B,Hs,T,E].
template <class T>
struct SasCase {
  Size s;
  int64_t E;
  Buffer<T> x, dx, y, dy, cos, sin, partial;
  Params<T> w, dw;

  explicit SasCase(const Size& size)
      : s(size),
        E(s.E ? s.E : s.D),
        x(s.B * s.T, s.H * s.D, 5),
        dx(s.B * s.T, s.H * s.D, 3),
        y(s.B * s.Hs * s.T, E, 2),
        dy(s.B * s.Hs * s.T, E, 1),
        cos(s.start + s.T, std::max<int64_t>(E / 2, 1), 1),
        sin(s.start + s.T, std::max<int64_t>(E / 2, 1)),
        partial(1, sas_bwd_scratch({s.B * s.T, s.H, s.D, s.Hs, E, s.K, s.K > 0, s.E > 0}), 16),
        w(s, E, 7),
        dw(s, E, 4) {
    x.fill_normal("x");
    dy.fill_normal("dy");
    for (auto [name, buffer] : w.present(s)) buffer->fill_normal(name, 0.4);
    for (auto [name, buffer] : dw.present(s)) buffer->fill(0);
    for (int64_t t = 0; t < s.start + s.T; ++t)
      for (int64_t i = 0; i < E / 2; ++i)
        cos(t, i) = T(std::cos(t + 0.3 * i)), sin(t, i) = T(std::sin(t + 0.3 * i));
  }

  template <class X>
  Heads<X> tokens_first(Buffer<T>& buffer) {
    const int64_t stride = buffer.mat().stride;
    return {buffer.data(), s.B, s.T, s.H, s.D, s.T * stride, stride, s.D};
  }
  template <class X>
  Heads<X> heads_first(Buffer<T>& buffer) {
    const int64_t stride = buffer.mat().stride;
    return {buffer.data(), s.B, s.T, s.Hs, E, s.Hs * s.T * stride, stride, s.T * stride};
  }
  RopeTable<const T> rope() {
    return s.rope ? RopeTable<const T>{cos.mat(), sin.mat()} : RopeTable<const T>{};
  }
  SasFwd<T> fwd() {
    return {heads_first<T>(y), tokens_first<const T>(x), w.template view<const T>(s), rope(), s.start};
  }
  SasBwd<T> bwd() {
    return {tokens_first<T>(dx),
            dw.template view<T>(s),
            heads_first<const T>(dy),
            tokens_first<const T>(x),
            w.template view<const T>(s),
            rope(),
            {partial.data(), partial.size()}};
  }
  // What backward differentiates: sum of y * dy.
  double objective() {
    cpu::sas_fwd<T>({}, fwd());
    double sum = 0;
    for (int64_t i = 0; i < y.size(); ++i) sum += double(y[i]) * double(dy[i]);
    return sum;
  }
};

using Lines = std::vector<std::vector<double>>;

// The formula, one token, in double. magnitude: every term by its absolute value and relu left out, which
// bounds the sum of what is added; times epsilon and the number of additions, it bounds the rounding.
template <class T>
Lines plain_token(SasCase<T>& k, int64_t b, int64_t t, bool magnitude) {
  const Size& s = k.s;
  const auto value = [&](T v) { return magnitude ? std::abs(double(v)) : double(v); };
  const auto relu = [&](double v) { return v > 0 ? v : 0; };
  const auto conv = [&](const Lines& in, Buffer<T>& w, Buffer<T>& bias) {
    Lines out(size_t(s.Hs), std::vector<double>(size_t(s.D)));
    for (int64_t o = 0; o < s.Hs; ++o)
      for (int64_t p = 0; p < s.D; ++p) {
        double sum = value(bias[o]);
        for (int64_t i = 0; i < int64_t(in.size()); ++i)
          for (int64_t j = 0; j < s.K; ++j) {
            const int64_t from = p + j - (s.K - 1) / 2;
            if (from >= 0 && from < s.D) sum += value(w(o, i * s.K + j)) * in[size_t(i)][size_t(from)];
          }
        out[size_t(o)][size_t(p)] = sum;
      }
    return out;
  };
  const auto linear = [&](const Lines& in, Buffer<T>& w, Buffer<T>& bias) {
    Lines out(in.size(), std::vector<double>(size_t(k.E)));
    for (size_t h = 0; h < in.size(); ++h)
      for (int64_t e = 0; e < k.E; ++e) {
        out[h][size_t(e)] = value(bias[e]);
        for (size_t d = 0; d < in[h].size(); ++d) out[h][size_t(e)] += value(w(e, int64_t(d))) * in[h][d];
      }
    return out;
  };
  const auto residual = [&](const Lines& z, auto&& layer, Buffer<T>& w, Buffer<T>& bias) {
    Lines branch = z;
    for (auto& line : branch) std::transform(line.begin(), line.end(), line.begin(), relu);
    Lines sum = layer(branch, w, bias);
    for (size_t h = 0; h < z.size(); ++h)
      for (size_t i = 0; i < z[h].size(); ++i) sum[h][i] += z[h][i];
    return sum;
  };

  Lines z(size_t(s.H), std::vector<double>(size_t(s.D)));
  for (int64_t h = 0; h < s.H; ++h)
    for (int64_t d = 0; d < s.D; ++d) z[size_t(h)][size_t(d)] = value(k.x(b * s.T + t, h * s.D + d));
  if (s.K) z = residual(conv(z, k.w.conv1_w, k.w.conv1_b), conv, k.w.conv2_w, k.w.conv2_b);
  if (s.E) z = residual(linear(z, k.w.proj1_w, k.w.proj1_b), linear, k.w.proj2_w, k.w.proj2_b);
  if (s.rope)
    for (auto& line : z)
      for (int64_t i = 0; i < k.E / 2; ++i) {
        double &low = line[size_t(i)], &high = line[size_t(i + k.E / 2)];
        const double cos = value(k.cos(s.start + t, i)), sin = value(k.sin(s.start + t, i)), kept = low;
        low = low * cos + (magnitude ? 1 : -1) * high * sin;
        high = kept * sin + high * cos;
      }
  return z;
}

}  // namespace saslm::sas_tests
