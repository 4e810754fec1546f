#include "kernels/embedding.h"

#include "core/bf16.h"
#include "kernels/shape_check.h"

namespace saslm {

template <class T>
void EmbeddingFwd<T>::check() const {
  const ShapeCheck c("embedding_fwd");
  c.mat("x", x, tokens.size, embed.cols);
  c.vec("tokens", tokens, x.rows);
  c.mat("embed", embed, embed.rows, embed.cols);
  if (!pos) return;
  if (seq_len <= 0 || x.rows % seq_len != 0)
    c.fail("seq_len", "divide the " + std::to_string(x.rows) + " rows of x, is " + std::to_string(seq_len));
  c.mat("pos", pos, pos.rows, embed.cols);
  if (start < 0 || start + seq_len > pos.rows)
    c.fail("pos", "have start + seq_len = " + std::to_string(start + seq_len) + " rows, has " +
                      std::to_string(pos.rows));
}

template <class T>
void EmbeddingBwd<T>::check() const {
  const ShapeCheck c("embedding_bwd");
  c.mat("dx", dx, tokens.size, dembed.cols);
  c.vec("tokens", tokens, dx.rows);
  c.mat("dembed", dembed, dembed.rows, dembed.cols);
  c.vec("scratch", scratch, embedding_bwd_scratch(dx.rows));
  if (!dpos) return;
  if (seq_len <= 0 || dx.rows % seq_len != 0)
    c.fail("seq_len", "divide the " + std::to_string(dx.rows) + " rows of dx, is " + std::to_string(seq_len));
  c.mat("dpos", dpos, dpos.rows, dembed.cols);
  if (seq_len > dpos.rows)
    c.fail("dpos", "have seq_len = " + std::to_string(seq_len) + " rows, has " + std::to_string(dpos.rows));
}

template struct EmbeddingFwd<float>;
template struct EmbeddingFwd<double>;
template struct EmbeddingFwd<bf16>;
template struct EmbeddingBwd<float>;
template struct EmbeddingBwd<double>;
template struct EmbeddingBwd<bf16>;

}  // namespace saslm
