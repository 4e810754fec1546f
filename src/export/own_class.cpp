// SaslmForCausalLM, whose source (modeling_saslm.py, which CMake makes a string of) is written beside the
// weights. It reads the model block of our own config.json; so do we, of what was exported.
#include "export/form.h"
#include "export/modeling_source.h"

namespace saslm {

Form own_form(const ModelConfig& model, Weights weights) {
  const std::string module = "modeling_saslm";
  return {.architecture = "SaslmForCausalLM",
          .note = "no class of transformers computes this model: it comes with its own, " + module +
                  ".py, and loads with trust_remote_code=True",
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
