// Token and position embedding.
//
//   x[n] = embed[token[n]] (+ pos[start + n mod T])          n = b*T + t
//
// Shapes   N rows of C channels; tokens (N), each in [0, V); embed (V, C); pos (max_seq_len, C) or absent.
// Writes   x is set (=). dembed and dpos are accumulated (+=).
// Repeats  Bit for bit: rows that share a token are added in order of n, whoever adds them.
// Errors   ShapeError before any work. Tokens are checked by the data room, not here.
#pragma once
#include "core/stream.h"
#include "core/types.h"
#include "core/view.h"

namespace saslm {

template <class T>
struct EmbeddingFwd {
  Mat<T> x;                   // out (N, C)
  Vec<const int32_t> tokens;  // in  (N)
  Mat<const T> embed;         // in  (V, C)
  Mat<const T> pos;           // in  (max_seq_len, C) or absent
  int64_t seq_len = 0;        // T
  int64_t start = 0;          // position of the first token of every sequence
  void check() const;
};

template <class T>
struct EmbeddingBwd {
  Mat<Accum<T>> dembed;       // out (V, C)            +=
  Mat<Accum<T>> dpos;         // out (max_seq_len, C)  +=, or absent
  Mat<const T> dx;            // in  (N, C)
  Vec<const int32_t> tokens;  // in  (N)
  Vec<int32_t> scratch;       // (N): the rows grouped by token; the CPU leaves it alone
  int64_t seq_len = 0;
  void check() const;
};

namespace cpu {
template <class T>
void embedding_fwd(Stream, const EmbeddingFwd<T>&);
template <class T>
void embedding_bwd(Stream, const EmbeddingBwd<T>&);
}  // namespace cpu

}  // namespace saslm
