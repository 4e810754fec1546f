// GPT2LMHeadModel: the inverse of gpt2.cpp.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "export/import_form.h"

namespace saslm {
namespace {

constexpr std::array<const char*, 4> kBiases = {".attn.c_attn.bias", ".attn.c_proj.bias", ".mlp.c_fc.bias",
                                                ".mlp.c_proj.bias"};

// An export of a model without biases has zero biases and says so (saslm_bias); training elsewhere may have
// changed them.
bool has_biases(const WeightFiles& weights) {
  for (const std::string& name : weights.names()) {
    if (std::none_of(kBiases.begin(), kBiases.end(), [&](const char* end) { return name.ends_with(end); }))
      continue;
    const std::vector<float> values = weights.read(name);
    if (std::any_of(values.begin(), values.end(), [](float x) { return x != 0; })) return true;
  }
  return false;
}

// Requires plain attention in all keys that choose a variant.
void check_ways(HfConfig& config) {
  const std::string act = config.word("activation_function", "gelu_new");
  if (act != "gelu_new" && act != "gelu_pytorch_tanh")
    config.refuse("activation_function", "\"gelu_new\", the tanh form that saslm has");
  if (!config.flag("scale_attn_weights", true))
    config.refuse("scale_attn_weights", "true: saslm divides attention scores by sqrt(head width)");
  if (config.flag("scale_attn_by_inverse_layer_idx", false))
    config.refuse("scale_attn_by_inverse_layer_idx", "false: saslm scales attention equally in all layers");
  config.flag("reorder_and_upcast_attn", false);  // the same in float32
}

class Gpt2Pieces {
 public:
  Gpt2Pieces(ImportForm& form, bool bias) : form_(form), bias_(bias) {}

  void add(const std::string& ours, const std::string& theirs, const std::vector<int64_t>& shape) {
    form_.pieces.push_back({ours, shape, theirs, shape});
  }
  void add_norm(const std::string& ours, const std::string& theirs, int64_t width) {
    for (const char* part : {".weight", ".bias"}) add(ours + part, theirs + part, {width});
  }
  // Splits one [in, sum of out] layer into our linear layers, each [out, in].
  void add_linears(const std::vector<std::string>& ours, const std::string& theirs, int64_t out, int64_t in) {
    const int64_t all = int64_t(ours.size()) * out;
    for (size_t i = 0; i < ours.size(); ++i) {
      const int64_t first = int64_t(i) * out;
      form_.pieces.push_back({ours[i] + ".weight", {out, in}, theirs + ".weight", {in, all}, true, first});
      if (bias_) form_.pieces.push_back({ours[i] + ".bias", {out}, theirs + ".bias", {all}, false, first});
    }
  }

 private:
  ImportForm& form_;
  bool bias_;
};

void add_layer(Gpt2Pieces& pieces, int64_t layer, int64_t d, int64_t hidden) {
  const std::string ours = "layers." + std::to_string(layer) + ".",
                    theirs = "transformer.h." + std::to_string(layer) + ".";
  pieces.add_norm(ours + "attn_norm", theirs + "ln_1", d);
  pieces.add_linears({ours + "attn.q", ours + "attn.k", ours + "attn.v"}, theirs + "attn.c_attn", d, d);
  pieces.add_linears({ours + "attn.o"}, theirs + "attn.c_proj", d, d);
  pieces.add_norm(ours + "mlp_norm", theirs + "ln_2", d);
  pieces.add_linears({ours + "mlp.up"}, theirs + "mlp.c_fc", hidden, d);
  pieces.add_linears({ours + "mlp.down"}, theirs + "mlp.c_proj", d, hidden);
}

}  // namespace

ImportForm import_gpt2(HfConfig& config, WeightFiles& weights) {
  const int64_t vocab = config.size("vocab_size"), d = config.size("n_embd"), layers = config.size("n_layer"),
                heads = config.size("n_head"), context = config.size("n_positions"),
                hidden = config.size("n_inner", 4 * d);
  if (d % heads != 0) config.refuse("n_head", "a divisor of n_embd (" + std::to_string(d) + ")");
  check_ways(config);
  const bool tied = config.flag("tie_word_embeddings", true);
  weights.allow_without("transformer.");
  const bool bias = config.flag("saslm_bias", true) || has_biases(weights);
  const nlohmann::json model = {
      {"vocab_size", vocab},
      {"n_layer", layers},
      {"d_model", d},
      {"max_seq_len", context},
      {"attention", {{"kind", "mha"}, {"n_head", heads}, {"head_dim", d / heads}, {"position", "learned"}}},
      {"mlp", {{"kind", "gelu"}, {"hidden", hidden}}},
      {"norm", {{"kind", "layernorm"}, {"eps", config.number("layer_norm_epsilon", 1e-5)}}},
      {"tie_embeddings", tied},
      {"bias", bias}};
  ImportForm form{.architecture = "GPT2LMHeadModel",
                  .model = checked_model(config, model),
                  .tied_head = tied ? "lm_head.weight" : "",
                  .buffers = {".attn.bias", ".attn.masked_bias"}};  // the causal mask
  if (!bias) form.dropped = {kBiases.begin(), kBiases.end()};
  Gpt2Pieces pieces(form, bias);
  pieces.add("embed.weight", "transformer.wte.weight", {vocab, d});
  pieces.add("pos_embed.weight", "transformer.wpe.weight", {context, d});
  for (int64_t i = 0; i < layers; ++i) add_layer(pieces, i, d, hidden);
  pieces.add_norm("final_norm", "transformer.ln_f", d);
  if (!tied) pieces.add("head.weight", "lm_head.weight", {vocab, d});
  return form;
}

}  // namespace saslm
