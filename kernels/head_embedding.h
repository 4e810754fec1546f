// H heads made of one shared head, each with an embedding of its own (Xue & Aletras, "Pit One Against
// Many", arXiv 2310.07911).
//
//   add   y[h] = x + e[h]           dx = sum_h dy[h]                 de[h] += sum over tokens of dy[h]
//   mul   y[h] = x * (1 + e[h])     dx = sum_h dy[h] * (1 + e[h])    de[h] += sum over tokens of dy[h] * x
//
// where * goes feature by feature.
//
// Shapes   y, dy (B, T, H, D); x, dx (B, T, 1, D); e, de (H, D). Any strides with contiguous features.
// Writes   y, dx are set (=). de is accumulated (+=).
// Repeats  Bit for bit: heads are summed in a fixed order; de over fixed chunks of tokens, then over chunks
//          in a fixed order.
// Errors   ShapeError before any work.
// Cost     y is written once, dy read once.
#pragma once
#include "core/stream.h"
#include "core/types.h"
#include "core/view.h"

namespace saslm {

enum class HeadEmbeddingForm { add, mul };

template <class T>
struct HeadEmbeddingFwd {
  HeadEmbeddingForm form = HeadEmbeddingForm::add;
  Heads<T> y;        // out (B, T, H, D)
  Heads<const T> x;  // in  (B, T, 1, D)
  Mat<const T> e;    // in  (H, D)
  void check() const;
};

template <class T>
struct HeadEmbeddingBwd {
  HeadEmbeddingForm form = HeadEmbeddingForm::add;
  Heads<T> dx;            // out (B, T, 1, D)  =
  Mat<Accum<T>> de;       // out (H, D)        +=
  Heads<const T> dy;      // in  (B, T, H, D)
  Heads<const T> x;       // in  (B, T, 1, D)
  Mat<const T> e;         // in  (H, D)
  Mat<Accum<T>> partial;  // scratch (head_embedding_bwd_partials(B*T), H*D)
  void check() const;
};

// Rows of scratch that head_embedding_bwd asks for: a function of the shape alone.
int64_t head_embedding_bwd_partials(int64_t tokens);

namespace cpu {
template <class T>
void head_embedding_fwd(Stream, const HeadEmbeddingFwd<T>&);
template <class T>
void head_embedding_bwd(Stream, const HeadEmbeddingBwd<T>&);
}  // namespace cpu
namespace cuda {
template <class T>
void head_embedding_fwd(Stream, const HeadEmbeddingFwd<T>&);
template <class T>
void head_embedding_bwd(Stream, const HeadEmbeddingBwd<T>&);
}  // namespace cuda

}  // namespace saslm
