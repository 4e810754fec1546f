// Contract: kernels/head_gates.h. Bound by reading and writing the heads; a token's H logits cost little
// beside its H*D features, so backward computes the softmaxes again.
#include "kernels/head_gates.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"

namespace saslm::cpu {
namespace {

template <class A, class T>
void softmax(A* share, const T* z, int64_t n) {
  const A largest = A(*std::max_element(z, z + n));
  A sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += share[i] = std::exp(A(z[i]) - largest);
  for (int64_t i = 0; i < n; ++i) share[i] /= sum;
}

// The indices of the k greatest of z[0 .. n), greatest first, the first of equals first.
template <class T>
void choose(int32_t* chosen, const T* z, int64_t n, int64_t k) {
  bool* const taken = thread_scratch<bool>(n);
  std::fill_n(taken, n, false);
  for (int64_t j = 0; j < k; ++j) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; ++i)
      if (!taken[i] && (best < 0 || z[i] > z[best])) best = i;
    taken[best] = true;
    chosen[j] = int32_t(best);
  }
}

// The gates of one token, from its logits; arrays are over all heads, the shared ones first.
template <class T>
struct Token {
  using A = Accum<T>;
  int64_t n_shared;
  A *share, *weight;     // s, p; s, w, under unit gates w / sum w
  A kind[2] = {1, 1};    // a1, a2
  A factor[2] = {1, 1};  // what unit gates multiply shared and routed weights by

  Token(const T* z, const int32_t* chosen, const HeadRouting& r, int64_t H)
      : n_shared(r.n_shared), share(thread_scratch<A, Token>(2 * H)), weight(share + H) {
    const int64_t S = n_shared;
    if (S > 0) {
      softmax(share, z, S);
      softmax(kind, z + H, 2);
    }
    softmax(share + S, z + S, H - S);
    std::copy_n(share, S, weight);
    std::fill(weight + S, weight + H, A(0));
    A sum = 0;  // not below the greatest p
    for (int64_t j = 0; j < r.top_k; ++j) sum += weight[S + chosen[j]] = share[S + chosen[j]];
    if (!r.unit_gates) return;
    for (int64_t i = S; i < H; ++i) weight[i] /= sum;
    factor[0] = A(2 * S);
    factor[1] = A((S > 0 ? 2 : 1) * r.top_k);
  }

  A gate_of_kind(bool routed) const { return kind[routed] * factor[routed]; }
  A gate(int64_t h) const { return gate_of_kind(h >= n_shared) * weight[h]; }
};

template <class T>
T dot(const T* a, const T* b, int64_t size) {
  Simd<T> sum = {};
  each_vector<T>(size, [&](int64_t d, auto n) { sum += load(a + d, n) * load(b + d, n); });
  return lane_sum<T>(sum);
}

template <class T>
void scale_to(T* y, const T* x, int64_t size, T factor) {
  each_vector<T>(size, [&](int64_t d, auto n) { store(y + d, load(x + d, n) * factor, n); });
}

// Sets dz of a token from the gradients dg of its gates.
template <class T>
void logit_gradients(T* dz, const Token<T>& token, const Accum<T>* dg, const HeadGatesBwd<T>& a,
                     Accum<T>& aux_loss) {
  using A = Accum<T>;
  const int64_t H = a.x.H, S = token.n_shared;
  A mean[2] = {0, 0}, balance = 0;  // mean: of the gradients, under the weights
  for (int64_t h = 0; h < H; ++h) mean[h >= S] += token.weight[h] * dg[h];
  for (int64_t i = S; i < H; ++i) balance += a.load[i - S] * token.share[i];
  aux_loss += A(a.aux_weight) * balance;

  const A pull = A(a.scale * a.aux_weight);
  // The softmax whose weights are used: all routed heads', or under unit gates that of the chosen alone.
  const A* const base = a.routing.unit_gates ? token.weight : token.share;
  for (int64_t h = 0; h < S; ++h) dz[h] = T(token.gate(h) * (dg[h] - mean[0]));
  for (int64_t h = S; h < H; ++h)
    dz[h] = T(token.gate_of_kind(true) * (token.weight[h] * dg[h] - base[h] * mean[1]) +
              pull * token.share[h] * (a.load[h - S] - balance));
  if (S == 0) return;
  const A between = token.kind[0] * token.kind[1] * (token.factor[0] * mean[0] - token.factor[1] * mean[1]);
  dz[H] = T(between);
  dz[H + 1] = T(-between);
}

}  // namespace

template <class T>
void head_gates_fwd(Stream, const HeadGatesFwd<T>& a) {
  a.check();
  const int64_t H = a.y.H, D = a.y.D, S = a.routing.n_shared, k = a.routing.top_k;
  each_token(a.y.B, a.y.T, [&](int64_t b, int64_t t) {
    const int64_t n = b * a.y.T + t;
    int32_t* const chosen = a.chosen ? a.chosen.data + n * k : thread_scratch<int32_t>(k);
    choose(chosen, a.z[n] + S, H - S, k);
    const Token<T> token(a.z[n], chosen, a.routing, H);
    for (int64_t h = 0; h < H; ++h) scale_to(a.y.at(b, t, h), a.x.at(b, t, h), D, T(token.gate(h)));
  });
}

template <class T>
void head_gates_bwd(Stream, const HeadGatesBwd<T>& a) {
  a.check();
  using A = Accum<T>;
  const int64_t H = a.x.H, D = a.x.D, N = a.x.B * a.x.T, k = a.routing.top_k;
  std::fill_n(a.load.data, a.load.size, A(0));
  for (int64_t i = 0; i < N * k; ++i) a.load[a.chosen[i]] += A(1);  // exact: a count
  for (int64_t i = 0; i < a.load.size; ++i) a.load[i] /= A(N);

  each_token(a.x.B, a.x.T, [&](int64_t b, int64_t t) {
    const int64_t n = b * a.x.T + t;
    const Token<T> token(a.z[n], a.chosen.data + n * k, a.routing, H);
    A* const dg = thread_scratch<A, struct GateGradients>(H);
    for (int64_t h = 0; h < H; ++h) {
      T* const dy = a.dy.at(b, t, h);
      dg[h] = dot<T>(dy, a.x.at(b, t, h), D);
      scale_to<T>(dy, dy, D, T(token.gate(h)));
    }
    logit_gradients(a.z[n], token, dg, a, a.aux_loss[n]);
  });
}

template void head_gates_fwd(Stream, const HeadGatesFwd<float>&);
template void head_gates_fwd(Stream, const HeadGatesFwd<double>&);
template void head_gates_bwd(Stream, const HeadGatesBwd<float>&);
template void head_gates_bwd(Stream, const HeadGatesBwd<double>&);

}  // namespace saslm::cpu
