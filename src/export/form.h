// The form of an exported model: the transformers class that loads it, its config.json and its tensors. Each
// form has its own file; the model's config alone decides which one is used.
#pragma once
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "config/config.h"

namespace saslm {

struct Form {
  std::string architecture;                    // the class
  std::string note;                            // reason for this class, for the user
  nlohmann::ordered_json config;               // config.json without the weights' type and the special tokens
  std::vector<ConstNamedTensor> tensors;       // views of the given weights or of `made`
  std::vector<std::unique_ptr<float[]>> made;  // values that had to be rearranged
  std::map<std::string, std::string> files;    // additional files: name, text
};

// Checkpoint weights, which must outlive the form. nullopt if the class would not compute exactly this model,
// or does not accept its sizes.
using Weights = std::span<const ConstNamedTensor>;
std::optional<Form> llama_form(const ModelConfig& model, Weights weights);
std::optional<Form> gpt2_form(const ModelConfig& model, Weights weights);

// Whether attention is the kind's projection and the core, with nothing that those classes do not know: the
// rest of its config, whatever there is, is as it is by default.
inline bool is_plain(const AttentionConfig& a) {
  return a == AttentionConfig{.kind = a.kind,
                              .n_head = a.n_head,
                              .head_dim = a.head_dim,
                              .position = a.position,
                              .rope_base = a.rope_base,
                              .projection = a.projection};
}

// "layers.3.attn.q.weight" -> "model.layers.3.self_attn.q_proj.weight"
std::string llama_name(const std::string& name);

// For every model: our own class, whose source is exported too. Tensors keep their names.
Form own_form(const ModelConfig& model, Weights weights);

}  // namespace saslm
