// The state of a run besides its tensors: state.json in a checkpoint. Tensors and this state together
// determine every later bit of the run.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/bf16.h"
#include "ops/ops.h"
#include "train/agreement.h"
#include "train/bad_steps.h"
#include "train/origin.h"

namespace saslm {

// Hardware and software that computed a state. "": unknown, as in older checkpoints.
struct ComputedBy {
  std::string device;     // Ops::device
  std::string precision;  // "fp32" or "bf16": type of the weights in matrix products
  std::string build;      // build_hash()
  Platform platform;
};

template <class T>
ComputedBy computed_by(const Ops<T>& ops) {
  return {ops.device, std::is_same_v<T, bf16> ? "bf16" : "fp32", build_hash(), ops.platform()};
}

// One line for each of device, precision, GPU and matrix product library that is known on both sides and
// differs.
std::vector<std::string> other_arithmetic(const ComputedBy& then, const ComputedBy& now);
// Likewise for the build, the driver and CUDA's runtime: only with the same ones are results bit-identical.
std::vector<std::string> other_build(const ComputedBy& then, const ComputedBy& now);

// For state.json and the event "start": the fields that are known.
nlohmann::ordered_json to_json(const Platform& platform);

// The tokenizer that a run was made with; both "" if unknown.
struct TokenizerIdentity {
  std::string name, fingerprint;
};

struct RunState {
  int64_t step = 0;           // steps done, skipped ones included: the number of the next step
  int64_t updates = 0;        // updates applied: AdamW's t
  int64_t tokens = 0;         // seen
  uint64_t sample_index = 0;  // stream index of the next training sample
  BadStepDetector::State detector;
  std::string product_table;  // Ops::product_table(); "" if products were not timed
  ComputedBy computed_by;
  std::vector<std::string> avoided;  // names of kernels that the run must not use (train/kernel_check.h)
  int64_t ranks = 1;                 // number of ranks that wrote it; any number may resume
  std::string train_fingerprint, val_fingerprint;  // TokenSet::fingerprint(); "" without a val set
  std::string eval_sample;      // EvalSample::fingerprint; "" without one, and in older checkpoints
  TokenizerIdentity tokenizer;  // its files, if available, are in the checkpoint too
  Origin origin;
};

std::string to_json(const RunState& state);
// Parses what to_json wrote. CheckpointError, which names the checkpoint `where`, for any other text.
RunState run_state_from_json(const std::string& text, const std::string& where);

// Compares two resolved configs (JSON texts) key by key, as each key's Rule::on_resume says (config/rule.h).
// CheckpointError that lists every difference in a key of OnResume::same. Returns one line for each
// difference in a key of OnResume::reported; keys of OnResume::free are not compared. ComputedBy records
// which device and precision were used; the config only has what was requested.
std::vector<std::string> check_resumable(const std::string& saved_config, const std::string& current_config,
                                         const std::string& where);

}  // namespace saslm
