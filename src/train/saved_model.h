// A model on disk: a checkpoint, a run directory (its newest valid checkpoint), or a folder with
// model.safetensors and config.json.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"
#include "data/token_set.h"
#include "data/tokenizer_copy.h"

namespace saslm {

struct SavedModel {
  std::string path;  // the folder that holds model.safetensors
  ModelConfig config;
  int64_t seq_len = 0;  // in training, if its config.json says so; else max_seq_len
  // tokenizer: an argument for make_tokenizer: "bytes", the model's own copy, or without a copy the original
  // path. tokenizer_name: its name in training. tokenizer_fingerprint: of its content. Each "" if unknown.
  std::string tokenizer, tokenizer_name, tokenizer_fingerprint;
  std::vector<std::string> skipped;  // damaged newer checkpoints, each with the reason
};

// Finds the model at `path`. CheckpointError if there is none, ConfigError for a bad config.json.
SavedModel find_saved_model(const std::string& path);

// The tokenizer for the model: `given`, or the model's own if that is "". ConfigError if it is unknown or
// does not exist; DataError if the model was trained with another one. Adds to `notes` what could not be
// compared.
TokenizerCopy tokenizer_for(const SavedModel& model, const std::string& given,
                            std::vector<std::string>& notes);

// DataError if the data was made with another tokenizer than the model's. Returns a line if only one of the
// two is known, so that they could not be compared; else "".
std::string check_data_of(const SavedModel& model, const TokenSet& data);

}  // namespace saslm
