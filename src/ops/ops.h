// Ops<T>: every verb a model or the optimizer may use, as one table of functions. A backend fills the table;
// the model never knows which. Contracts are the headers in kernels/.
#pragma once
#include <cstddef>

#include "core/stream.h"
#include "core/types.h"
#include "core/view.h"
#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/head_embedding.h"
#include "kernels/head_gates.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/repeat_heads.h"
#include "kernels/rope.h"
#include "kernels/sas.h"
#include "kernels/tensor_product.h"

namespace saslm {

template <class T>
struct Ops {
  using A = Accum<T>;

  void (*embedding_fwd)(Stream, const EmbeddingFwd<T>&);
  void (*embedding_bwd)(Stream, const EmbeddingBwd<T>&);
  void (*norm_fwd)(Stream, const NormFwd<T>&);
  void (*norm_bwd)(Stream, const NormBwd<T>&);
  void (*matmul_fwd)(Stream, const MatmulFwd<T>&);
  void (*matmul_bwd)(Stream, const MatmulBwd<T>&);
  void (*activation_fwd)(Stream, const ActivationFwd<T>&);
  void (*activation_bwd)(Stream, const ActivationBwd<T>&);
  void (*rope_fill)(Stream, const RopeFill<T>&);
  void (*rope)(Stream, const Rope<T>&);
  void (*repeat_heads_fwd)(Stream, const RepeatHeadsFwd<T>&);
  void (*repeat_heads_bwd)(Stream, const RepeatHeadsBwd<T>&);
  void (*tensor_product_fwd)(Stream, const TensorProductFwd<T>&);
  void (*tensor_product_bwd)(Stream, const TensorProductBwd<T>&);
  void (*head_embedding_fwd)(Stream, const HeadEmbeddingFwd<T>&);
  void (*head_embedding_bwd)(Stream, const HeadEmbeddingBwd<T>&);
  void (*sas_fwd)(Stream, const SasFwd<T>&);
  void (*sas_bwd)(Stream, const SasBwd<T>&);
  void (*attention_fwd)(Stream, const AttentionFwd<T>&);
  void (*attention_bwd)(Stream, const AttentionBwd<T>&);
  void (*head_gates_fwd)(Stream, const HeadGatesFwd<T>&);
  void (*head_gates_bwd)(Stream, const HeadGatesBwd<T>&);
  void (*cross_entropy)(Stream, const CrossEntropy<T>&);
  void (*adamw)(Stream, const AdamW<T>&);

  // Waits for the stream, then returns a number on the host, summed in double in a fixed order.
  double (*sum)(Stream, Vec<const A>);
  double (*sum_squares)(Stream, Vec<const A>);

  // Host <-> backend memory, finished on return; zero is queued.
  void (*copy_in)(Stream, void* backend, const void* host, size_t bytes);
  void (*copy_out)(Stream, void* host, const void* backend, size_t bytes);
  void (*zero)(Stream, void* backend, size_t bytes);
};

// The CPU table exists for float (production) and double (verification).
template <class T>
const Ops<T>& cpu_ops();

}  // namespace saslm
