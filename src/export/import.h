// A model of Hugging Face's transformers as a folder that saslm reads: eval, generate, export, --init-from.
//
//   config.json         the model block, and where the tokenizer lies
//   model.safetensors   float32, our names and layout (bf16 and fp16 are widened, exactly)
//   tokenizer.json or vocab.json + merges.txt     where it is of a kind that saslm reads
//
// Of LlamaForCausalLM and GPT2LMHeadModel, as save_pretrained writes them, whatever saslm computes exactly;
// all else is refused by name. Every tensor's name and shape is checked before anything is written; tensors
// are then taken one after the other. Written as an export is: whole or not at all.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"

namespace saslm {

struct ImportRequest {
  std::string from, out;    // folders
  int64_t max_seq_len = 0;  // a shorter context than the model's, where positions are rotary; 0 = the model's
};

struct ImportResult {
  std::string out;  // absolute
  std::string architecture;
  ModelConfig model;
  std::string tokenizer, tokenizer_fingerprint;  // "" when none was written
  int64_t tensors = 0, parameters = 0;
  std::vector<std::string> files;  // names, sorted
  std::vector<std::string> notes;  // what a person should know
};

// Errors   ConfigError, CheckpointError; IoError, after which `out` is as it was.
ImportResult import_model(const ImportRequest& request);

}  // namespace saslm
