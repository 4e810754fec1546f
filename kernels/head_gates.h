// Heads as experts: every token weights its heads: the shared heads always, of the routed heads the k of
// highest score (Jin et al., "MoH: Multi-Head Attention as Mixture-of-Head Attention", arXiv 2410.11842,
// section 3).
//
//   s = softmax(z_0 .. z_S-1)   p = softmax(z_S .. z_H-1)   [a1, a2] = softmax(z_H, z_H+1); a2 = 1 if S = 0
//   w_i = p_i if head i is among the token's k of greatest z, else 0; of equals the first is chosen
//
//   fwd   y_i = g_i x_i    g_i = a1 s_i for the shared heads, a2 w_i for the routed ones
//                          unit_gates: 2 a1 S s_i (S > 0) and 2 a2 k w_i / sum w (k w_i / sum w if S = 0), so
//                          that equal scores make every gate in use 1, as in the authors' code
//   bwd   dx_i = g_i dy_i and dz, the gradient in z through y and through scale * aux_weight * sum_n b_n:
//         b_n = sum_i f_i p_ni, with the load f_i = share of the tokens that chose i, a constant. The mean of
//         b over tokens is the paper's load-balance loss sum_i P_i f_i.
//
// Shapes   y, x, dy (B, T, H, D), any strides with contiguous features; N = B*T rows in the same order: z,
//          dz (N, H + 2), or (N, H) if S = 0; chosen (N*k), indices among the routed heads; load (H - S).
// Types    Softmaxes, gates and sums are Accum<T>.
// Writes   y, chosen, load, dy and z (now dx and dz) are set (=); aux_loss is accumulated (+=).
// Repeats  Bit for bit: a token's sums do not depend on the others, and loads are counts.
// Errors   ShapeError before any work.
#pragma once
#include "core/stream.h"
#include "core/types.h"
#include "core/view.h"

namespace saslm {

struct HeadRouting {
  int64_t n_shared = 0;     // S, the first heads; fewer than all
  int64_t top_k = 1;        // k, from 1 to the H - S routed heads
  bool unit_gates = false;  // 1 where scores are equal

  int64_t n_logits(int64_t H) const { return H + (n_shared > 0 ? 2 : 0); }
};

template <class T>
struct HeadGatesFwd {
  Heads<T> y;           // out (B, T, H, D)
  Vec<int32_t> chosen;  // out (N*k), kept for backward; may be absent
  Heads<const T> x;     // in  (B, T, H, D)
  Mat<const T> z;       // in  (N, H + 2)
  HeadRouting routing;
  void check() const;
};

template <class T>
struct HeadGatesBwd {
  Heads<T> dy;                // in, out (B, T, H, D); on return dx
  Mat<T> z;                   // in, out (N, H + 2);   on return dz
  Vec<Accum<T>> aux_loss;     // out (N)      += aux_weight * b_n
  Vec<Accum<T>> load;         // out (H - S)  = f
  Heads<const T> x;           // in  as forward
  Vec<const int32_t> chosen;  // in  from forward
  HeadRouting routing;
  double aux_weight = 0;
  double scale = 0;
  void check() const;
};

namespace cpu {
template <class T>
void head_gates_fwd(Stream, const HeadGatesFwd<T>&);
template <class T>
void head_gates_bwd(Stream, const HeadGatesBwd<T>&);
}  // namespace cpu
namespace cuda {
template <class T>
void head_gates_fwd(Stream, const HeadGatesFwd<T>&);
template <class T>
void head_gates_bwd(Stream, const HeadGatesBwd<T>&);
}  // namespace cuda

}  // namespace saslm
