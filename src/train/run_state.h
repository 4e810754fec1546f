// Everything a run is besides its tensors: state.json in a checkpoint. With the tensors it decides every
// later bit of the run.
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

// What a state was computed by. "": not known, as in checkpoints from before this was kept.
struct ComputedBy {
  std::string device;     // Ops::device
  std::string precision;  // "fp32", "bf16": of the weights that are multiplied
  std::string build;      // build_hash()
  Platform platform;
};

template <class T>
ComputedBy computed_by(const Ops<T>& ops) {
  return {ops.device, std::is_same_v<T, bf16> ? "bf16" : "fp32", build_hash(), ops.platform()};
}

// One line each for a device, precision, GPU and library of matrix products that are known and were others
// then.
std::vector<std::string> other_arithmetic(const ComputedBy& then, const ComputedBy& now);
// Likewise for the build, the driver and CUDA's runtime: the same bits are promised for the same ones only.
std::vector<std::string> other_build(const ComputedBy& then, const ComputedBy& now);

// For state.json and the event "start": the fields that are known.
nlohmann::ordered_json to_json(const Platform& platform);

// The tokenizer that a run was made with; both "" where that is not known.
struct TokenizerIdentity {
  std::string name, fingerprint;
};

struct RunState {
  int64_t step = 0;           // steps done, refused ones included: the next step's number
  int64_t updates = 0;        // updates applied: AdamW's t
  int64_t tokens = 0;         // seen
  uint64_t sample_index = 0;  // of the training stream, the next to read
  BadStepDetector::State detector;
  std::string product_table;  // Ops::product_table(); "" where products were not timed
  ComputedBy computed_by;
  std::vector<std::string> avoided;  // kernels that the run does without, by name (train/kernel_check.h)
  int64_t ranks = 1;                 // that wrote it; for the reader, any number may go on
  std::string train_fingerprint, val_fingerprint;  // TokenSet::fingerprint(); "" without a val set
  std::string eval_sample;  // EvalSample::fingerprint; "" without, and in checkpoints from before it was kept
  TokenizerIdentity tokenizer;  // its files, if they are to be had, lie beside this
  Origin origin;
};

std::string to_json(const RunState& state);
// `where` names the checkpoint in the CheckpointError for anything but what to_json writes.
RunState run_state_from_json(const std::string& text, const std::string& where);

// Compares two resolved configs (JSON texts) field by field. What decides the model, the data order or the
// batch must be the same: CheckpointError listing every difference. Returns one line per difference that is
// allowed and changes the run from here on (learning rate, steps, ...); evaluation, checkpoint and runtime
// settings and paths may change silently. Of device and precision a config says what is wished: what came of
// that is ComputedBy.
std::vector<std::string> check_resumable(const std::string& saved_config, const std::string& current_config,
                                         const std::string& where);

}  // namespace saslm
