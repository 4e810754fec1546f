// Everything a run is besides its tensors: state.json in a checkpoint. With the tensors it decides every
// later bit of the run.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"
#include "train/bad_steps.h"

namespace saslm {

struct RunState {
  int64_t step = 0;           // steps done, refused ones included: the next step's number
  int64_t updates = 0;        // updates applied: AdamW's t
  int64_t tokens = 0;         // seen
  uint64_t sample_index = 0;  // of the training stream, the next to read
  BadStepDetector::State detector;
  std::string product_table;                       // Ops::product_table(); "" where products were not timed
  int64_t ranks = 1;                               // that wrote it; for the reader, any number may go on
  std::string train_fingerprint, val_fingerprint;  // TokenSet::fingerprint(); "" without a val set
};

std::string to_json(const RunState& state);
// `where` names the checkpoint in the CheckpointError for anything but what to_json writes.
RunState run_state_from_json(const std::string& text, const std::string& where);

// Compares two resolved configs (JSON texts) field by field. What decides the model, the data order or the
// batch must be the same: CheckpointError listing every difference. Returns one line per difference that is
// allowed and changes the run from here on (learning rate, steps, ...); evaluation, checkpoint and runtime
// settings and paths may change silently.
std::vector<std::string> check_resumable(const std::string& saved_config, const std::string& current_config,
                                         const std::string& where);

}  // namespace saslm
