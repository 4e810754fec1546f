// A trained model as a folder that transformers loads: AutoModelForCausalLM and AutoTokenizer
// from_pretrained.
//
//   config.json, generation_config.json, model.safetensors     in the form (form.h) of the first class that
//                                                              computes exactly this model: Llama, GPT-2,
//                                                              ours
//   modeling_saslm.py                                          ours only
//   tokenizer.json or vocab.json + merges.txt, tokenizer_config.json     where the tokenizer is to be had
//
// Written under a temporary name beside it, fsynced, renamed: the folder is there whole or not at all.
#pragma once
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "config/config.h"

namespace saslm {

struct ExportRequest {
  const ModelConfig& model;
  std::span<const ConstNamedTensor> weights;  // all of the model's, by their names in checkpoints
  std::string tokenizer;                      // as tokenizer_files takes it; "": none is written
  TensorType type = TensorType::f32;  // of the weights in the file; bf16 is rounded to nearest, ties to even
  std::string out;                    // the folder
};

struct ExportResult {
  std::string out;  // absolute
  std::string architecture;
  int64_t tensors = 0, parameters = 0;
  std::vector<std::string> files;            // names, sorted
  std::vector<std::string> notes, warnings;  // what a person should know; and do something about
};

// Errors   ConfigError for an `out` with something in it; DataError, ConfigError of tokenizer_files; IoError,
// after which `out` is as it was.
ExportResult export_model(const ExportRequest& request);

}  // namespace saslm
