// Contract: kernels/head_gates.h. Meaning: kernels/cpu/head_gates.cpp.
//
// A warp a token. Its lanes share the heads' logits, whose softmaxes and weights lie in shared memory: a few
// hundred instructions beside the H*D features that the lanes then pass in packs of 16 bytes. Each routed
// head counts those of greater score, which is its rank among them. Backward reads a pack of x
// and dy once: dy times its gate goes back at once, the product is summed by the lanes of its head. Floors: x
// and y once; x once and dy in and out.
//
// The loads are counted first, a block a routed head over all that was chosen, which L2 holds.
#include "kernels/cuda/heads.cuh"
#include "kernels/head_gates.h"

namespace saslm::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kArrays = 3;  // of H numbers in shared memory for each warp
constexpr int kLoadThreads = 512;

// The same order as the numbers', and a total one: a NaN has its place, so that k heads are chosen of any.
__device__ __forceinline__ uint32_t sortable(float z) {
  const uint32_t bits = std::bit_cast<uint32_t>(z + 0.0f);  // -0 equals 0
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

// The indices of the k greatest of z[0 .. count), greatest first, the first of equals first.
template <class T>
__device__ __forceinline__ void choose(int32_t* chosen, const T* z, int count, int k) {
  for (int i = simt::lane_id(); i < count; i += kWarp) {
    const uint32_t own = sortable(float(z[i]));
    int place = 0;
    for (int j = 0; j < count; ++j) {
      const uint32_t other = sortable(float(z[j]));
      place += other > own || (other == own && j < i);
    }
    if (place < k) chosen[place] = i;
  }
}

template <class T>
__device__ __forceinline__ void softmax(float* share, const T* z, int count) {
  float top = -3e38f, sum = 0;
  for (int i = simt::lane_id(); i < count; i += kWarp) top = fmaxf(top, float(z[i]));
  top = warp_max(top);
  for (int i = simt::lane_id(); i < count; i += kWarp) sum += share[i] = expf(float(z[i]) - top);
  sum = warp_sum(sum);
  for (int i = simt::lane_id(); i < count; i += kWarp) share[i] /= sum;
}

// The gates of a warp's token, from its logits. Arrays, in shared memory, are over all heads, the shared ones
// first.
struct Weights {
  int H, S;
  float *share, *weight;  // s, p; s, w, under unit gates w / sum w
  float* rest;            // a third array: what was chosen forward, gradients of gates backward
  float a1 = 1, a2 = 1;
  float shared_factor = 1, routed_factor = 1;  // what unit gates multiply the weights by

  __device__ __forceinline__ Weights(int heads, const HeadRouting& r)
      : H(heads),
        S(int(r.n_shared)),
        share(simt::dyn_smem<float>() + simt::warp_id() * kArrays * heads),
        weight(share + heads),
        rest(weight + heads) {}

  // Every lane reads what others wrote once it has passed a barrier of the warp.
  template <class T>
  __device__ __forceinline__ void weigh(const T* z, const int32_t* chosen, const HeadRouting& r) {
    const int lane = simt::lane_id(), k = int(r.top_k);
    if (S > 0) {
      softmax(share, z, S);
      const float top = fmaxf(float(z[H]), float(z[H + 1]));
      const float shared = expf(float(z[H]) - top), routed = expf(float(z[H + 1]) - top);
      a1 = shared / (shared + routed);
      a2 = routed / (shared + routed);
    }
    softmax(share + S, z + S, H - S);
    for (int h = lane; h < H; h += kWarp) weight[h] = h < S ? share[h] : 0.0f;
    simt::warp_sync();
    float sum = 0;  // not below the greatest p
    for (int j = lane; j < k; j += kWarp) sum += share[S + chosen[j]];
    sum = warp_sum(sum);
    const float scale = r.unit_gates ? 1 / sum : 1.0f;
    for (int j = lane; j < k; j += kWarp) weight[S + chosen[j]] = share[S + chosen[j]] * scale;
    if (!r.unit_gates) return;
    shared_factor = float(2 * S);
    routed_factor = float((S > 0 ? 2 : 1) * k);
  }
  __device__ __forceinline__ float gate(int h) const {
    return (h < S ? a1 * shared_factor : a2 * routed_factor) * weight[h];
  }
};

template <class T, int n>
__global__ void __launch_bounds__(kThreads) head_gates_fwd_kernel(HeadGatesFwd<T> a) {
  const int64_t token = int64_t{blockIdx.x} * kWarps + simt::warp_id();
  if (token >= a.y.B * a.y.T) return;  // the whole warp
  const int64_t b = token / a.y.T, t = token % a.y.T;
  const int k = int(a.routing.top_k), packs = int(a.y.D) / n;
  Weights w(int(a.y.H), a.routing);
  int32_t* const chosen = reinterpret_cast<int32_t*>(w.rest);
  choose(chosen, a.z[token] + w.S, w.H - w.S, k);
  w.weigh(a.z[token], chosen, a.routing);
  simt::warp_sync();
  if (a.chosen)
    for (int j = simt::lane_id(); j < k; j += kWarp) a.chosen[token * k + j] = chosen[j];
  for (int i = simt::lane_id(); i < w.H * packs; i += kWarp) {
    const int h = i / packs, d = i % packs * n;
    const float gate = w.gate(h);
    float x[n];
    load(x, a.x.at(b, t, h) + d);
    SIMT_UNROLL
    for (int j = 0; j < n; ++j) x[j] *= gate;
    store(a.y.at(b, t, h) + d, x);
  }
}

// load[i] = share of the tokens that chose the routed head i, the block's.
__global__ void __launch_bounds__(kLoadThreads)
    head_gates_load_kernel(Vec<float> load, Vec<const int32_t> chosen, float tokens) {
  SIMT_SHARED(int[kLoadThreads / kWarp], partial);
  int count = 0;
  for (int64_t i = threadIdx.x; i < chosen.size; i += kLoadThreads) count += chosen[i] == int(blockIdx.x);
  count = block_sum(count, partial);
  if (threadIdx.x == 0) load[blockIdx.x] = float(count) / tokens;
}

// dx = over dy, and the gradients of the gates, by `along` lanes a head.
template <int n, class T>
__device__ __forceinline__ void gate_features(float* dg, const Weights& w, const HeadGatesBwd<T>& a,
                                              int64_t b, int64_t t, int along) {
  const int lane = simt::lane_id(), D = int(a.x.D);
  for (int first = 0; first < w.H; first += kWarp / along) {
    const int h = first + lane / along;
    const float gate = h < w.H ? w.gate(h) : 0.0f;
    float sum = 0;
    for (int d = lane % along * n; d < D && h < w.H; d += along * n) {
      float x[n], dy[n];
      load(x, a.x.at(b, t, h) + d);
      load(dy, a.dy.at(b, t, h) + d);
      SIMT_UNROLL
      for (int i = 0; i < n; ++i) {
        sum += dy[i] * x[i];
        dy[i] *= gate;
      }
      store(a.dy.at(b, t, h) + d, dy);
    }
    sum = sum_along_row(sum, along);
    if (lane % along == 0 && h < w.H) dg[h] = sum;
  }
}

// Sets dz of a token from the gradients dg of its gates.
template <class T>
__device__ __forceinline__ void logit_gradients(T* dz, const Weights& w, const float* dg,
                                                const HeadGatesBwd<T>& a, float& aux_loss, float pull) {
  const int lane = simt::lane_id(), H = w.H, S = w.S;
  float shared_mean = 0, routed_mean = 0, balance = 0;  // means: of the gradients, under the weights
  for (int h = lane; h < H; h += kWarp) {
    (h < S ? shared_mean : routed_mean) += w.weight[h] * dg[h];
    if (h >= S) balance += a.load[h - S] * w.share[h];
  }
  shared_mean = warp_sum(shared_mean), routed_mean = warp_sum(routed_mean), balance = warp_sum(balance);
  for (int h = lane; h < H; h += kWarp) {
    if (h < S) {
      dz[h] = T(w.gate(h) * (dg[h] - shared_mean));
      continue;
    }
    // The softmax whose weights are used: all routed heads', or under unit gates that of the chosen alone.
    const float base = a.routing.unit_gates ? w.weight[h] : w.share[h];
    dz[h] = T(w.a2 * w.routed_factor * (w.weight[h] * dg[h] - base * routed_mean) +
              pull * w.share[h] * (a.load[h - S] - balance));
  }
  if (lane > 0) return;
  aux_loss += float(a.aux_weight) * balance;
  if (S == 0) return;
  const float between = w.a1 * w.a2 * (w.shared_factor * shared_mean - w.routed_factor * routed_mean);
  dz[H] = T(between);
  dz[H + 1] = T(-between);
}

template <class T, int n>
__global__ void __launch_bounds__(kThreads, 5)
    head_gates_bwd_kernel(HeadGatesBwd<T> a, int along, float pull) {
  const int64_t token = int64_t{blockIdx.x} * kWarps + simt::warp_id();
  if (token >= a.x.B * a.x.T) return;  // the whole warp
  Weights w(int(a.x.H), a.routing);
  w.weigh(a.z[token], a.chosen.data + token * a.routing.top_k, a.routing);
  simt::warp_sync();
  gate_features<n>(w.rest, w, a, token / a.x.T, token % a.x.T, along);
  simt::warp_sync();
  logit_gradients(a.z[token], w, w.rest, a, a.aux_loss[token], pull);
}

inline size_t shared_bytes(int64_t H) {
  return size_t(kWarps * kArrays * H) * sizeof(float);
}

}  // namespace

template <class T>
void head_gates_fwd(Stream stream, const HeadGatesFwd<T>& a) {
  a.check();
  constexpr int n = kPack<T>;
  const bool packs = in_packs<n>(a.y) && in_packs<n>(a.x);
  simt::launch(packs ? head_gates_fwd_kernel<T, n> : head_gates_fwd_kernel<T, 1>,
               ceil_div(a.y.B * a.y.T, kWarps), kThreads, shared_bytes(a.y.H), stream, a);
}

template <class T>
void head_gates_bwd(Stream stream, const HeadGatesBwd<T>& a) {
  a.check();
  constexpr int n = kPack<T>;
  const int64_t tokens = a.x.B * a.x.T;
  const bool packs = in_packs<n>(a.x) && in_packs<n>(a.dy);
  simt::launch(head_gates_load_kernel, a.load.size, kLoadThreads, 0, stream, a.load, a.chosen, float(tokens));
  simt::launch(packs ? head_gates_bwd_kernel<T, n> : head_gates_bwd_kernel<T, 1>, ceil_div(tokens, kWarps),
               kThreads, shared_bytes(a.x.H), stream, a, lanes_along(packs ? a.x.D / n : a.x.D),
               float(a.scale * a.aux_weight));
}

template void head_gates_fwd(Stream, const HeadGatesFwd<float>&);
template void head_gates_fwd(Stream, const HeadGatesFwd<bf16>&);
template void head_gates_bwd(Stream, const HeadGatesBwd<float>&);
template void head_gates_bwd(Stream, const HeadGatesBwd<bf16>&);

}  // namespace saslm::cuda
