// Contract: kernels/repeat_heads.h. Bound by memory: every number is read and written once.
#include "kernels/repeat_heads.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace saslm::cpu {

template <class T>
void repeat_heads_fwd(Stream, const RepeatHeadsFwd<T>& a) {
  a.check();
  const int64_t group = a.y.H / a.x.H;
  each_token(a.y.B, a.y.T, [&](int64_t b, int64_t t) {
    for (int64_t h = 0; h < a.y.H; ++h) std::copy_n(a.x.at(b, t, h / group), a.y.D, a.y.at(b, t, h));
  });
}

template <class T>
void repeat_heads_bwd(Stream, const RepeatHeadsBwd<T>& a) {
  a.check();
  const int64_t group = a.dy.H / a.dx.H;
  each_token(a.dy.B, a.dy.T, [&](int64_t b, int64_t t) {
    for (int64_t g = 0; g < a.dx.H; ++g)
      each_vector<T>(a.dx.D, [&](int64_t d, auto n) {
        Simd<T> sum = load(a.dy.at(b, t, g * group) + d, n);
        for (int64_t h = g * group + 1; h < (g + 1) * group; ++h) sum += load(a.dy.at(b, t, h) + d, n);
        store(a.dx.at(b, t, g) + d, sum, n);
      });
  });
}

template void repeat_heads_fwd(Stream, const RepeatHeadsFwd<float>&);
template void repeat_heads_fwd(Stream, const RepeatHeadsFwd<double>&);
template void repeat_heads_bwd(Stream, const RepeatHeadsBwd<float>&);
template void repeat_heads_bwd(Stream, const RepeatHeadsBwd<double>&);

}  // namespace saslm::cpu
