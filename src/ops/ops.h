// Ops<T>: every verb a model or the optimizer may use, as one table of functions. A backend fills the table;
// the model never knows which. Contracts are the headers in kernels/.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <variant>

#include "core/bf16.h"
#include "core/platform.h"
#include "core/stream.h"
#include "core/types.h"
#include "core/view.h"
#include "kernels/accumulate.h"
#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/block_squares.h"
#include "kernels/cross_entropy.h"
#include "kernels/cuda/paths.h"
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
  void (*accumulate)(Stream, const Accumulate<A>&);
  void (*block_squares)(Stream, const BlockSquares<A>&);

  // *total += the sum of x: in double and in a fixed order; total is backend memory.
  void (*add_sum)(Stream, double* total, Vec<const A>);

  // Memory and queues of the backend. allocate gives zeroed memory, MachineError when there is not enough;
  // available_bytes is what it could give now to each of so many ranks on this machine, 0 when unknown: ranks
  // divide the host's memory, and have a GPU each.
  std::shared_ptr<std::byte> (*allocate)(int64_t bytes);
  int64_t (*available_bytes)(int ranks);
  std::shared_ptr<const Stream> (*open_stream)();
  // What is queued on the follower from now on begins when all that the leader has queued so far is done.
  void (*follow)(Stream follower, Stream leader);
  // Matrix products by algorithms that are chosen by timing, from now on: with the choices of an earlier
  // run's table, "" for none, before those that were made since. False: the table holds for another library
  // or device and is not used. The table as it has grown: product_table; "" where nothing is chosen.
  bool (*time_products)(Stream, const std::string& table);
  std::string (*product_table)(Stream);
  // What a queue's kernels may fit their launches to; zeros on a CPU. Kernels that calls on it are not
  // computed by from now on, as Stream::avoided; nothing on a CPU.
  simt::DeviceLimits (*limits)(Stream);
  void (*avoid)(Stream, uint32_t kernels);
  // What this thread queues between the two has this name in a profiler: ops/named_range.h. Null where there
  // is none.
  void (*begin_range)(const char* name);
  void (*end_range)();
  bool host_memory;        // the host may read and write it
  const char* device;      // its kind: "cpu", "cuda"
  Platform (*platform)();  // of the GPU that this thread uses

  // copy_in has read the host's memory on return; copy_out waits for all queued work and has written it; zero
  // is queued.
  void (*copy_in)(Stream, void* backend, const void* host, size_t bytes);
  void (*copy_out)(Stream, void* host, const void* backend, size_t bytes);
  void (*zero)(Stream, void* backend, size_t bytes);
};

// The CPU table exists for float (production) and double (verification).
template <class T>
const Ops<T>& cpu_ops();

// The GPU's table exists for bf16 (production) and float (verification). ConfigError in a build without CUDA.
template <class T>
const Ops<T>& cuda_ops();

struct Gpu {
  std::string name;    // "NVIDIA H200"
  int capability = 0;  // 90 for 9.0
  int64_t memory_bytes = 0;
  int ordinal = 0;  // among those this process sees
  std::string id;   // "GPU-" and its UUID: no other has the same
  simt::DeviceLimits limits{};
};
// One of those this process sees, 0 .. gpu_count() - 1, or why it cannot be used; no context is made on it.
std::variant<Gpu, std::string> find_gpu(int ordinal = 0);
int gpu_count();
// All that this thread allocates, queues and joins from now on is on this GPU. CudaError; ConfigError, before
// anything is allocated, when its driver does not take the kernels.
void use_gpu(int ordinal);

}  // namespace saslm
