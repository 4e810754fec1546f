// LlamaForCausalLM: the inverse of llama.cpp.
#include <nlohmann/json.hpp>

#include "export/form.h"
#include "export/import_form.h"

namespace saslm {
namespace {

struct Sizes {
  int64_t vocab, d, hidden, layers, heads, kv_heads, width, context;
};

Sizes read_sizes(HfConfig& config) {
  Sizes s{.vocab = config.size("vocab_size"),
          .d = config.size("hidden_size"),
          .hidden = config.size("intermediate_size"),
          .layers = config.size("num_hidden_layers"),
          .heads = config.size("num_attention_heads")};
  s.kv_heads = config.size("num_key_value_heads", s.heads);
  if (!config.find("head_dim") && s.d % s.heads != 0)
    config.refuse("head_dim", "a value, since hidden_size is not a multiple of num_attention_heads");
  s.width = config.size("head_dim", s.d / s.heads);
  s.context = config.size("max_position_embeddings", 2048);
  return s;
}

class LlamaPieces {
 public:
  LlamaPieces(ImportForm& form, bool bias) : form_(form), bias_(bias) {}

  void add(const std::string& name, const std::vector<int64_t>& shape) {
    form_.pieces.push_back({name, shape, llama_name(name), shape});
  }
  void add_linear(const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in});
    if (bias_) add(name + ".bias", {out});
  }

 private:
  ImportForm& form_;
  bool bias_;
};

void add_pieces(ImportForm& form, const Sizes& s, bool bias, bool tied) {
  LlamaPieces pieces(form, bias);
  pieces.add("embed.weight", {s.vocab, s.d});
  for (int64_t i = 0; i < s.layers; ++i) {
    const std::string at = "layers." + std::to_string(i) + ".";
    pieces.add(at + "attn_norm.weight", {s.d});
    pieces.add_linear(at + "attn.q", s.heads * s.width, s.d);
    for (const char* name : {"attn.k", "attn.v"}) pieces.add_linear(at + name, s.kv_heads * s.width, s.d);
    pieces.add_linear(at + "attn.o", s.d, s.heads * s.width);
    pieces.add(at + "mlp_norm.weight", {s.d});
    for (const char* name : {"mlp.gate", "mlp.up"}) pieces.add_linear(at + name, s.hidden, s.d);
    pieces.add_linear(at + "mlp.down", s.d, s.hidden);
  }
  pieces.add("final_norm.weight", {s.d});
  if (!tied) pieces.add("head.weight", {s.vocab, s.d});
}

}  // namespace

ImportForm import_llama(HfConfig& config, WeightFiles& weights) {
  const Sizes s = read_sizes(config);
  if (const std::string act = config.word("hidden_act", "silu"); act != "silu" && act != "swish")
    config.refuse("hidden_act", "\"silu\", which saslm's swiglu has");
  const bool bias = config.flag("attention_bias", false), tied = config.flag("tie_word_embeddings", false);
  if (config.flag("mlp_bias", false) != bias)
    config.refuse("mlp_bias", std::string(bias ? "true" : "false") +
                                  ", like attention_bias: in saslm all linear layers have biases, or none");
  const char* kind = s.kv_heads == s.heads ? "mha" : s.kv_heads == 1 ? "mqa" : "gqa";
  nlohmann::json attention = {{"kind", kind},
                              {"n_head", s.heads},
                              {"head_dim", s.width},
                              {"position", "rope"},
                              {"rope_base", config.rope_base()}};
  if (attention["kind"] == "gqa") attention["n_kv_head"] = s.kv_heads;
  const nlohmann::json model = {{"vocab_size", s.vocab},
                                {"n_layer", s.layers},
                                {"d_model", s.d},
                                {"max_seq_len", s.context},
                                {"attention", attention},
                                {"mlp", {{"kind", "swiglu"}, {"hidden", s.hidden}}},
                                {"norm", {{"kind", "rmsnorm"}, {"eps", config.number("rms_norm_eps", 1e-6)}}},
                                {"tie_embeddings", tied},
                                {"bias", bias}};
  weights.allow_without("model.");
  ImportForm form{.architecture = "LlamaForCausalLM",
                  .model = checked_model(config, model),
                  .tied_head = tied ? "lm_head.weight" : "",
                  .buffers = {"rotary_emb.inv_freq"}};
  add_pieces(form, s, bias, tied);
  return form;
}

}  // namespace saslm
