// Next-token cross-entropy over a block of rows, gradient in place, the logits read from memory once: on the
// GPU the row's maximum and sum are found on line over chunks of the vocabulary (Milakov & Gimelshein 2018),
// on the CPU the row waits in cache.
//
//   loss[n] = log sum_v e^z[n,v] - z[n,target[n]]              nats
//   dz[n,v] = scale * (softmax(z[n])[v] - [v == target[n]])
//
// Shapes   logits (N, V + pad); target (N) in [0, V); loss (N). The last `pad` columns of the logits are no
//          token's: they make the width one that matrix products are fast at, and may hold anything.
// Writes   loss is set (=). With scale != 0 the logits are overwritten by dz (=), pad columns by 0; with
//          scale 0 they are kept.
// Errors   ShapeError before any work. A non-finite logit gives a non-finite loss, never a crash.
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
