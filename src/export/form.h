// One form of a model for transformers: which class loads it, and what its config.json and tensors then say.
// Each is a file of its own; which one a model gets follows from its config alone.
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
  std::string architecture;       // the class
  std::string note;               // why this one, for a person
  nlohmann::ordered_json config;  // config.json, but for the type of the weights and the tokens with a role
  std::vector<ConstNamedTensor> tensors;       // of the values given, or of `made`
  std::vector<std::unique_ptr<float[]>> made;  // values that are not the model's as they lie
  std::map<std::string, std::string> files;    // beside these: name, text
};

// Weights as a checkpoint has them, which must outlive the form. Nothing where that class would compute
// anything else than the model does, or will not take its sizes.
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

// Every model: our own class, whose source goes with it. Tensors keep their names.
Form own_form(const ModelConfig& model, Weights weights);

}  // namespace saslm
