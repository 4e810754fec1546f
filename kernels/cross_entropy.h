// Next-token cross-entropy over a block of rows, gradient in place, the logits read from memory once: on the
// GPU the row's maximum and sum are found on line over chunks of the vocabulary (Milakov & Gimelshein 2018),
// on the CPU the row waits in cache.
//
//   s[n,v]  = softcap tanh(z[n,v] / softcap), or z[n,v] where softcap is 0         Gemma 2, arXiv 2408.00118
//   lse[n]  = log sum_v e^s[n,v]
//   loss[n] = lse[n] - s[n,target[n]]              nats
//   aux_loss[n] += z_weight lse[n]^2               the z-loss: PaLM, arXiv 2204.02311, section 5
//   dz[n,v] = scale * ((1 + 2 z_weight lse[n]) softmax(s[n])[v] - [v == target[n]]) * (1 - (s[n,v] /
//   softcap)^2)
//
// Shapes   logits (N, V + pad); target (N) in [0, V); loss, aux_loss (N). The last `pad` columns of the
// logits
//          are no token's: they make the width one that matrix products are fast at, and may hold anything.
//          aux_loss is there if z_weight is not 0.
// Writes   loss is set (=), aux_loss accumulated (+=). With scale != 0 the logits are overwritten by dz (=),
//          pad columns by 0; with scale 0 they are kept.
// Errors   ShapeError before any work. A non-finite logit gives a non-finite loss, never a crash; under a
// soft
//          cap, too.
// Cost     Each of softcap and z_weight costs nothing where it is 0. A soft cap: two tanh a logit.
#pragma once
#include "core/stream.h"
#include "core/types.h"
#include "core/view.h"

namespace saslm {

template <class T>
struct CrossEntropy {
  Vec<Accum<T>> loss;          // out (N)
  Mat<T> logits;               // in/out (N, V + pad)
  Vec<const int32_t> targets;  // in  (N)
  double scale = 0;            // 1 / (targets of the whole step), or 0: loss only
  int64_t pad = 0;             // columns behind the vocabulary's
  double softcap = 0;          // in units of the logits; 0: none
  double z_weight = 0;         // of the z-loss beside the loss; 0: none
  Vec<Accum<T>> aux_loss;      // out (N) +=

  int64_t vocab() const { return logits.cols - pad; }
  void check() const;
};

namespace cpu {
template <class T>
void cross_entropy(Stream, const CrossEntropy<T>&);
}  // namespace cpu
namespace cuda {
template <class T>
void cross_entropy(Stream, const CrossEntropy<T>&);
}  // namespace cuda

}  // namespace saslm
