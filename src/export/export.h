// Exports a trained model as a folder for transformers (AutoModelForCausalLM and AutoTokenizer
// from_pretrained).
//
//   config.json, generation_config.json, model.safetensors
//                      in the form (form.h) of the first class that computes exactly this model: Llama,
//                      GPT-2, ours
//   modeling_saslm.py  for our class
//   tokenizer.json or vocab.json + merges.txt, and tokenizer_config.json
//                      if the tokenizer is available
//
// The folder is written under a temporary name, fsynced and renamed, so it is complete or absent.
#pragma once
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "config/config.h"

namespace saslm {

struct ExportRequest {
  const ModelConfig& model;
  std::span<const ConstNamedTensor> weights;  // all weights of the model, with their checkpoint names
  std::string tokenizer;                      // as for tokenizer_files; "": none is written
  TensorType type = TensorType::f32;  // of the weights in the file; bf16 rounds to nearest, ties to even
  std::string out;                    // the folder
};

struct ExportResult {
  std::string out;  // absolute
  std::string architecture;
  int64_t tensors = 0, parameters = 0;
  std::vector<std::string> files;            // names, sorted
  std::vector<std::string> notes, warnings;  // for the user; warnings need action
};

// Throws ConfigError if `out` is not empty; DataError and ConfigError as tokenizer_files; IoError, which
// leaves `out` unchanged.
ExportResult export_model(const ExportRequest& request);

}  // namespace saslm
