// Contract: kernels/embedding.h.
#include "kernels/embedding.h"

#include <algorithm>

#include "core/dims.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace saslm::cpu {

namespace {

constexpr int64_t kRowsPerTask = 16;
constexpr int64_t kTokenClasses = 64;  // a task takes the tokens of one remainder; a power of two

template <class A, class T>
void add_row(A* sum, const T* row, int64_t C) {
  each_vector<A>(C, [&](int64_t c, auto n) { store(sum + c, load(sum + c, n) + load(row + c, n), n); });
}

}  // namespace

template <class T>
void embedding_fwd(Stream, const EmbeddingFwd<T>& a) {
  a.check();
  const int64_t C = a.embed.cols;
  parallel_for(ceil_div(a.x.rows, kRowsPerTask), [&](int64_t task) {
    const int64_t end = std::min(a.x.rows, (task + 1) * kRowsPerTask);
    for (int64_t n = task * kRowsPerTask; n < end; ++n) {
      const T* const embed = a.embed[a.tokens[n]];
      std::copy(embed, embed + C, a.x[n]);
      if (a.pos) add_row(a.x[n], a.pos[a.start + n % a.seq_len], C);
    }
  });
}

// Every task reads all tokens and adds the rows of its own class: N/16 loads of a cache line per task,
// against N rows to add, so sorting the rows first (a.scratch) would gain nothing here. Equal tokens are in
// one class, hence added in order by one thread.
template <class T>
void embedding_bwd(Stream, const EmbeddingBwd<T>& a) {
  a.check();
  const int64_t C = a.dembed.cols;
  parallel_for(kTokenClasses, [&](int64_t task) {
    for (int64_t n = 0; n < a.dx.rows; ++n)
      if (a.tokens[n] % kTokenClasses == task) add_row(a.dembed[a.tokens[n]], a.dx[n], C);
  });
  if (!a.dpos) return;
  parallel_for(ceil_div(a.seq_len, kRowsPerTask), [&](int64_t task) {
    const int64_t end = std::min(a.seq_len, (task + 1) * kRowsPerTask);
    for (int64_t first = 0; first < a.dx.rows; first += a.seq_len)
      for (int64_t t = task * kRowsPerTask; t < end; ++t) add_row(a.dpos[t], a.dx[first + t], C);
  });
}

template void embedding_fwd(Stream, const EmbeddingFwd<float>&);
template void embedding_fwd(Stream, const EmbeddingFwd<double>&);
template void embedding_bwd(Stream, const EmbeddingBwd<float>&);
template void embedding_bwd(Stream, const EmbeddingBwd<double>&);

}  // namespace saslm::cpu
