// The event "start", which metrics.jsonl gets when a run starts or resumes (docs/metrics.md).
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/kernel_check.h"
#include "train/kernel_paths.h"
#include "train/plan.h"
#include "train/run_state.h"

namespace saslm {

struct StartFacts {
  const Config& config;
  const Plan& plan;
  const RunState& state;
  bool resumed = false;
  std::vector<std::string> changes;  // since the checkpoint
  std::vector<KernelPath> kernels;   // empty on a CPU
  const KernelVerdict& verdict;
  double peak_tflops = 0;  // 0: unknown
  int64_t arena_bytes = 0, train_samples = 0, eval_sequences = 0;
};
nlohmann::ordered_json start_event(const StartFacts& facts);

}  // namespace saslm
