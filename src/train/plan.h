// What a run will need and do, computed before anything is allocated: the numbers behind `saslm plan`. Memory
// is per rank; all ranks allocate the same amount.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"
#include "core/layout.h"
#include "train/optimizer.h"

namespace saslm {

struct Plan {
  int64_t parameters = 0;
  std::vector<std::pair<std::string, int64_t>> parameters_by_part;  // in order of first declaration

  // Training FLOPs per token = 3 * forward; forward = 2 * multiply-adds of every linear, convolution and the
  // causal half of attention at seq_len, or what its windows leave. Recomputation is not counted.
  double flops_per_token = 0;
  double flops_attention = 0, flops_mlp = 0, flops_head = 0;  // of which
  double flops_recomputed = 0;  // per token, beside these: what runtime.recompute makes again

  int64_t arena_bytes = 0;     // the one allocation, exactly
  int64_t headroom_bytes = 0;  // GPU memory left free beside it: see kGpuHeadroom
  std::vector<std::pair<std::string, int64_t>> bytes_by_region;
  // By name without the layer, such as "activations layers.attn.q": summed over layers in tables, optimizer
  // and activations, the largest layer's in scratch. Buffers that are never alive together share memory, so
  // the sum may exceed the region.
  std::vector<std::pair<std::string, int64_t>> bytes_by_buffer;
  int64_t checkpoint_bytes = 0;  // size of one checkpoint on disk, to within 64 KiB

  int64_t tokens_per_step = 0;
  int64_t tokens_total = 0;
};

// GPU memory that CUDA takes beside the arena, an estimate that was not measured: workspaces of the streams'
// matrix products (32 MiB each), kernels that are loaded when first used, and NCCL's buffers with ranks.
constexpr int64_t kGpuHeadroom = int64_t{768} << 20;
constexpr int64_t kGpuHeadroomOfRanks = int64_t{1536} << 20;

// host_memory: the backend computes in host memory, where rank 0 also plans memory for snapshots.
template <class T>
Plan make_plan(const Config& config, bool host_memory = std::is_same_v<T, float>,
               const OptimizerMaker<T>& optimizer = make_optimizer<T>);

// One line for the log: samples and tokens per step, and the epochs that all steps make over `samples`.
std::string budget_of(const TrainConfig& train, int64_t samples);

// Throws ConfigError, naming settings that would fit, if arena and headroom exceed the available memory (0 =
// unknown). sharing: number of ranks on this machine; each of them has available_bytes.
template <class T>
void check_plan_fits(const Config& config, const Plan& plan, int64_t available_bytes,
                     bool host_memory = std::is_same_v<T, float>, int sharing = 1,
                     const OptimizerMaker<T>& optimizer = make_optimizer<T>);

// The plan of a run on this machine with this many local ranks; ConfigError if it does not fit.
template <class T>
Plan make_fitting_plan(const Config& config, const Ops<T>& ops, int local_ranks,
                       const OptimizerMaker<T>& optimizer) {
  Plan plan = make_plan<T>(config, ops.host_memory, optimizer);
  check_plan_fits<T>(config, plan, ops.available_bytes(local_ranks), ops.host_memory,
                     ops.host_memory ? local_ranks : 1, optimizer);
  return plan;
}

}  // namespace saslm
