#include "kernels/cuda/runtime/queue.h"
#include "ops/nvidia_driver.h"
#include "ops/ops.h"

namespace saslm {
namespace {

void add_sum(Stream stream, double* total, Vec<const float> x) {
  cuda::sum(
      stream,
      {.out = total, .partial = {cuda::sum_partials(stream).data, device_sum_partials(x.size)}, .x = x});
}

Platform platform() {
  Platform platform = cuda::platform();
  if (const std::string own = nvidia_driver().version; !own.empty())
    platform.driver = own + ", " + platform.driver;
  return platform;
}

}  // namespace

template <class T>
const Ops<T>& cuda_ops() {
  static constexpr Ops<T> kOps = {
      .embedding_fwd = cuda::embedding_fwd<T>,
      .embedding_bwd = cuda::embedding_bwd<T>,
      .norm_fwd = cuda::norm_fwd<T>,
      .norm_bwd = cuda::norm_bwd<T>,
      .matmul_fwd = cuda::matmul_fwd<T>,
      .matmul_bwd = cuda::matmul_bwd<T>,
      .activation_fwd = cuda::activation_fwd<T>,
      .activation_bwd = cuda::activation_bwd<T>,
      .rope_fill = cuda::rope_fill<T>,
      .rope = cuda::rope<T>,
      .repeat_heads_fwd = cuda::repeat_heads_fwd<T>,
      .repeat_heads_bwd = cuda::repeat_heads_bwd<T>,
      .tensor_product_fwd = cuda::tensor_product_fwd<T>,
      .tensor_product_bwd = cuda::tensor_product_bwd<T>,
      .head_embedding_fwd = cuda::head_embedding_fwd<T>,
      .head_embedding_bwd = cuda::head_embedding_bwd<T>,
      .sas_fwd = cuda::sas_fwd<T>,
      .sas_bwd = cuda::sas_bwd<T>,
      .attention_fwd = cuda::attention_fwd<T>,
      .attention_bwd = cuda::attention_bwd<T>,
      .head_gates_fwd = cuda::head_gates_fwd<T>,
      .head_gates_bwd = cuda::head_gates_bwd<T>,
      .cross_entropy = cuda::cross_entropy<T>,
      .adamw = cuda::adamw<T>,
      .accumulate = cuda::accumulate,
      .block_squares = cuda::block_squares,
      .add_sum = add_sum,
      .allocate = cuda::allocate,
      .available_bytes = [](int) { return cuda::available_bytes(); },
      .open_stream = cuda::open_stream,
      .follow = cuda::follow,
      .time_products = cuda::time_products,
      .product_table = cuda::product_table,
      .limits = cuda::limits,
      .avoid = cuda::avoid,
      .begin_range = cuda::begin_range,
      .end_range = cuda::end_range,
      .host_memory = false,
      .device = "cuda",
      .platform = platform,
      .copy_in = cuda::copy_in,
      .copy_out = cuda::copy_out,
      .zero = cuda::zero,
  };
  return kOps;
}

template const Ops<float>& cuda_ops<float>();
template const Ops<bf16>& cuda_ops<bf16>();

}  // namespace saslm
