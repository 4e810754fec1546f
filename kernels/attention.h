// Causal attention, blocked: no T x T matrix is ever stored (FlashAttention-2, Dao 2023, algorithms 1 and 2).
//
//   s[i,j] = scale * q[h,i] . k[k(h),j]   where the mask lets position start + i see j, else -inf
//   o[h,i] = sum_j p[i,j] v[v(h),j]       p = softmax_j(s)           lse[h,i] = log sum_j e^s[i,j]
//   y[c,i] = (1/P) sum_g o[g*Hp + c, i]   PEAA: the mean of the P = H/Hp head groups, channel c of Hp
//
// q has H heads, k has Gk, v has Gv. Which of them query head h reads, k(h) and v(h): attention_heads.h.
// Which keys a query sees: attention_mask.h.
//
// Shapes   q, o (B, Tq, H, E|Dv); k, v (B, Tk, Gk|Gv, E|Dv); Tk = start + Tq; lse (B, H, Tq).
//          E != Dv is fine.
// Types    T storage; softmax, lse and all sums in Accum<T>.
// Writes   o, lse, y are set (=). dq, dk, dv are set (=).
// Repeats  Bit for bit: sums in a fixed order, whatever the number of threads.
// Errors   ShapeError before any work.
#pragma once
#include "core/stream.h"
#include "core/types.h"
#include "core/view.h"
#include "kernels/attention_heads.h"
#include "kernels/attention_mask.h"

namespace saslm {

template <class T>
struct AttentionFwd {
  Heads<T> o;            // out (B, Tq, H, Dv)    kept for backward
  Vec<Accum<T>> lse;     // out (B*H*Tq), index (b*H + h)*Tq + i, natural log; kept for backward
  Heads<T> y;            // out (B, Tq, Hp, Dv); absent when H = Hp: then o is the result
  Heads<const T> q;      // in  (B, Tq, H, E)
  Heads<const T> k;      // in  (B, Tk, Gk, E)
  Heads<const T> v;      // in  (B, Tk, Gv, Dv)
  int64_t v_modulo = 0;  // 0: q.H
  int64_t start = 0;     // position of the first query; 0 in training
  double scale = 0;
  AttentionMask mask;
  void check() const;
};

// Training only: start = 0, Tq = Tk.
template <class T>
struct AttentionBwd {
  Heads<T> dq;                // out (B, T, H, E)     =
  Heads<T> dk;                // out (B, T, Gk, E)    =, summed over the query heads that read it
  Heads<T> dv;                // out (B, T, Gv, Dv)   =, likewise
  Heads<const T> dy;          // in  (B, T, Hp, Dv)   gradient of the pooled y (of o itself when Hp = H)
  Heads<const T> q, k, v, o;  // in  as forward
  Vec<const Accum<T>> lse;    // in
  Vec<Accum<T>> scratch;      // attention_bwd_scratch<T>(...) elements; the CPU leaves it alone
  int64_t v_modulo = 0;
  double scale = 0;
  AttentionMask mask;
  void check() const;
};

// The sizes that the schedule and the scratch of a backward pass follow from.
struct AttentionShape {
  int64_t B = 0, T = 0, H = 0, Gk = 0, Gv = 0, v_modulo = 0, E = 0, D = 0;
};
// Elements of AttentionBwd::scratch: a function of the shape alone. None in double, which has no GPU kernels.
template <class T>
int64_t attention_bwd_scratch(const AttentionShape& shape);

namespace cpu {
template <class T>
void attention_fwd(Stream, const AttentionFwd<T>&);
template <class T>
void attention_bwd(Stream, const AttentionBwd<T>&);
}  // namespace cpu
namespace cuda {
template <class T>
void attention_fwd(Stream, const AttentionFwd<T>&);
template <class T>
void attention_bwd(Stream, const AttentionBwd<T>&);
}  // namespace cuda

}  // namespace saslm
