#include <cstring>

#include "ops/ops.h"

namespace saslm {
namespace {

template <class A>
double sum_in_order(Stream, Vec<const A> x) {
  double total = 0;
  for (int64_t i = 0; i < x.size; ++i) total += double(x[i]);
  return total;
}

void copy(Stream, void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
}
void zero(Stream, void* to, size_t bytes) {
  std::memset(to, 0, bytes);
}

}  // namespace

template <class T>
const Ops<T>& cpu_ops() {
  static constexpr Ops<T> kOps = {
      .embedding_fwd = cpu::embedding_fwd<T>,
      .embedding_bwd = cpu::embedding_bwd<T>,
      .norm_fwd = cpu::norm_fwd<T>,
      .norm_bwd = cpu::norm_bwd<T>,
      .matmul_fwd = cpu::matmul_fwd<T>,
      .matmul_bwd = cpu::matmul_bwd<T>,
      .activation_fwd = cpu::activation_fwd<T>,
      .activation_bwd = cpu::activation_bwd<T>,
      .rope_fill = cpu::rope_fill<T>,
      .rope = cpu::rope<T>,
      .repeat_heads_fwd = cpu::repeat_heads_fwd<T>,
      .repeat_heads_bwd = cpu::repeat_heads_bwd<T>,
      .tensor_product_fwd = cpu::tensor_product_fwd<T>,
      .tensor_product_bwd = cpu::tensor_product_bwd<T>,
      .head_embedding_fwd = cpu::head_embedding_fwd<T>,
      .head_embedding_bwd = cpu::head_embedding_bwd<T>,
      .sas_fwd = cpu::sas_fwd<T>,
      .sas_bwd = cpu::sas_bwd<T>,
      .attention_fwd = cpu::attention_fwd<T>,
      .attention_bwd = cpu::attention_bwd<T>,
      .head_gates_fwd = cpu::head_gates_fwd<T>,
      .head_gates_bwd = cpu::head_gates_bwd<T>,
      .cross_entropy = cpu::cross_entropy<T>,
      .adamw = cpu::adamw<T>,
      .sum = sum_in_order<Accum<T>>,
      .sum_squares = cpu::sum_squares<Accum<T>>,
      .copy_in = copy,
      .copy_out = copy,
      .zero = zero,
  };
  return kOps;
}

template const Ops<float>& cpu_ops<float>();
template const Ops<double>& cpu_ops<double>();

}  // namespace saslm
