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
  int64_t seq_len = 0;  // what it was trained at, as far as its config.json says; else max_seq_len
  // Of its own tokenizer, as make_tokenizer takes it: "bytes", or the model's own copy; where it has none,
  // the place in which that was; "" when not known. Beside it, what it was called in training, and the
  // fingerprint of its content, "" when not known.
  std::string tokenizer, tokenizer_name, tokenizer_fingerprint;
  std::vector<std::string> skipped;  // newer checkpoints that are damaged, and why
};

// Throws CheckpointError when there is no model at `path`, ConfigError for a bad config.json.
SavedModel find_saved_model(const std::string& path);

// The tokenizer for the model: `given`, or its own where that is "". ConfigError when it is not known, not
// there; DataError when it is another than the model was trained with. `notes` gets what could not be
// compared.
TokenizerCopy tokenizer_for(const SavedModel& model, const std::string& given,
                            std::vector<std::string>& notes);

// DataError when the data was made with another tokenizer than the model was trained with. Returns what
// could not be compared, where only one of the two is known; else "".
std::string check_data_of(const SavedModel& model, const TokenSet& data);

}  // namespace saslm
