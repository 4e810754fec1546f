// A model on disk: a checkpoint, a run directory (its newest valid checkpoint), or a folder with
// model.safetensors and config.json.
#pragma once
#include <memory>
#include <string>

#include "train/engine.h"

namespace saslm {

struct SavedModel {
  std::string path;  // the folder that holds model.safetensors
  ModelConfig config;
  int64_t seq_len = 0;    // what it was trained at, as far as its config.json says; else max_seq_len
  std::string tokenizer;  // "" when not known
  std::vector<std::string> skipped;  // newer checkpoints that are damaged, and why
};

// Throws CheckpointError when there is no model at `path`, ConfigError for a bad config.json.
SavedModel find_saved_model(const std::string& path);

// An engine for inference with the model's weights: `batch` sequences of `seq_len`.
template <class T>
std::unique_ptr<Engine<T>> load_for_inference(const SavedModel& model, const RunShape& run,
                                              const Ops<T>& ops);

}  // namespace saslm
