// SaslmForCausalLM, whose source (modeling_saslm.py, embedded by CMake) is written beside the weights. It
// reads the model block of our own config.json, as does saslm when it reads an export.
#include "export/form.h"
#include "export/modeling_source.h"

namespace saslm {

Form own_form(const ModelConfig& model, Weights weights) {
  const std::string module = "modeling_saslm";
  return {.architecture = "SaslmForCausalLM",
          .note = "no class of transformers computes this model; the export contains its own, " + module +
                  ".py, which loads with trust_remote_code=True",
          .config = {{"model_type", "saslm"},
                     {"auto_map",
                      {{"AutoConfig", module + ".SaslmConfig"},
                       {"AutoModelForCausalLM", module + ".SaslmForCausalLM"}}},
                     {"vocab_size", model.vocab_size},
                     {"hidden_size", model.d_model},
                     {"num_hidden_layers", model.n_layer},
                     {"num_attention_heads", model.attention.n_head},
                     {"max_position_embeddings", model.max_seq_len},
                     {"tie_word_embeddings", model.tie_embeddings},
                     {"model", nlohmann::ordered_json::parse(to_json(model))}},
          .tensors = {weights.begin(), weights.end()},
          .files = {{module + ".py", kModelingSource}}};
}

}  // namespace saslm
