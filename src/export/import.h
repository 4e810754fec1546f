// Imports a transformers model as a folder for eval, generate, export and --init-from.
//
//   config.json         the model block, and the tokenizer's name
//   model.safetensors   float32, our names and layout (bf16 and fp16 are converted exactly)
//   tokenizer.json or vocab.json + merges.txt     if saslm supports the tokenizer
//
// Accepts LlamaForCausalLM and GPT2LMHeadModel, as save_pretrained writes them, if saslm computes them
// exactly; everything else is refused with the reason. All names and shapes are checked before anything is
// written; tensors are then copied one by one. The folder is complete or absent, as in an export.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"

namespace saslm {

struct ImportRequest {
  std::string from, out;    // folders
  int64_t max_seq_len = 0;  // a shorter context length, for rotary positions; 0 = the model's
};

struct ImportResult {
  std::string out;  // absolute
  std::string architecture;
  ModelConfig model;
  std::string tokenizer, tokenizer_fingerprint;  // "" if none was written
  int64_t tensors = 0, parameters = 0;
  std::vector<std::string> files;  // names, sorted
  std::vector<std::string> notes;  // for the user
};

// Throws ConfigError, CheckpointError, or IoError, which leaves `out` unchanged.
ImportResult import_model(const ImportRequest& request);

}  // namespace saslm
