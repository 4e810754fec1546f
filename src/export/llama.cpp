// LlamaForCausalLM: rotated heads, RMSNorm, SwiGLU. Its rotation pairs features like ours, (i, i + D/2), so
// weights are copied unchanged.
#include <algorithm>
#include <array>
#include <string_view>

#include "core/error.h"
#include "export/form.h"

namespace saslm {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kNames = {{
    {"embed", "model.embed_tokens"},
    {"final_norm", "model.norm"},
    {"head", "lm_head"},
    {"attn_norm", "input_layernorm"},
    {"attn.q", "self_attn.q_proj"},
    {"attn.k", "self_attn.k_proj"},
    {"attn.v", "self_attn.v_proj"},
    {"attn.o", "self_attn.o_proj"},
    {"mlp_norm", "post_attention_layernorm"},
    {"mlp.gate", "mlp.gate_proj"},
    {"mlp.up", "mlp.up_proj"},
    {"mlp.down", "mlp.down_proj"},
}};

bool fits_llama(const ModelConfig& model) {
  const AttentionConfig& a = model.attention;
  const bool kind =
      a.kind == AttentionKind::mha || a.kind == AttentionKind::mqa || a.kind == AttentionKind::gqa;
  return kind && is_plain(a) && a.position == PositionKind::rope && model.norm.kind == NormKind::rmsnorm &&
         model.logit_softcap == 0 && model.mlp.kind == MlpKind::swiglu &&
         model.d_model % a.n_head == 0;  // required by that class, although it knows head_dim
}

}  // namespace

std::string llama_name(const std::string& name) {
  constexpr std::string_view kLayers = "layers.";
  const size_t begin = name.starts_with(kLayers) ? name.find('.', kLayers.size()) + 1 : 0;
  const size_t end = name.rfind('.');
  const std::string_view part = std::string_view(name).substr(begin, end - begin);
  const auto found =
      std::find_if(kNames.begin(), kNames.end(), [&](const auto& pair) { return pair.first == part; });
  check(found != kNames.end(), "a model in the form of Llama has the tensors of one");
  return (begin > 0 ? "model." : "") + name.substr(0, begin) + std::string(found->second) + name.substr(end);
}

std::optional<Form> llama_form(const ModelConfig& model, Weights weights) {
  if (!fits_llama(model)) return std::nullopt;
  const AttentionConfig& a = model.attention;
  Form form{.architecture = "LlamaForCausalLM",
            .note = "transformers' LlamaForCausalLM computes exactly this model",
            .config = {{"model_type", "llama"},
                       {"vocab_size", model.vocab_size},
                       {"hidden_size", model.d_model},
                       {"intermediate_size", model.mlp.hidden},
                       {"num_hidden_layers", model.n_layer},
                       {"num_attention_heads", a.n_head},
                       {"num_key_value_heads", std::get<GqaConfig>(a.projection).n_kv_head},
                       {"head_dim", a.head_dim},
                       {"hidden_act", "silu"},
                       {"max_position_embeddings", model.max_seq_len},
                       {"rms_norm_eps", model.norm.eps},
                       {"rope_theta", a.rope_base},
                       {"attention_bias", model.bias},
                       {"attention_dropout", 0.0},
                       {"mlp_bias", model.bias},
                       {"tie_word_embeddings", model.tie_embeddings}}};
  for (const ConstNamedTensor& tensor : weights)
    form.tensors.push_back({llama_name(tensor.name), tensor.shape, tensor.data});
  return form;
}

}  // namespace saslm
