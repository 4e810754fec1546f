// Token and position embedding.
//
//   x[n] = embed[token[n]] (+ pos[start + n mod T])          n = b*T + t
//
// Shapes   N rows of C channels; tokens (N), each in [0, V); embed (V, C); pos (max_seq_len, C) or absent.
// Writes   x is set (=). dembed and dpos are accumulated (+=).
// Repeats  Bit for bit: rows that share a token are added in an order that follows from the tokens alone.
// Errors   ShapeError before any work. Tokens are checked by src/data, not here.
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
  Vec<int32_t> scratch;       // (embedding_bwd_scratch(N)): the rows sorted by token; the CPU leaves it alone
  int64_t seq_len = 0;
  void check() const;
};

// Tokens and rows: the input and the output of one pass of the sort.
constexpr int64_t embedding_bwd_scratch(int64_t rows) {
  return 4 * rows;
}

namespace cpu {
template <class T>
void embedding_fwd(Stream, const EmbeddingFwd<T>&);
template <class T>
void embedding_bwd(Stream, const EmbeddingBwd<T>&);
}  // namespace cpu
namespace cuda {
template <class T>
void embedding_fwd(Stream, const EmbeddingFwd<T>&);
template <class T>
void embedding_bwd(Stream, const EmbeddingBwd<T>&);
}  // namespace cuda

}  // namespace saslm
