// GPT2LMHeadModel: learned positions, LayerNorm, GELU. Its linear layers are [in, out], q, k and v are one
// layer, and all have biases.
#include <algorithm>

#include "core/error.h"
#include "export/form.h"

namespace saslm {
namespace {

bool fits_gpt2(const ModelConfig& model) {
  const AttentionConfig& a = model.attention;
  return a.kind == AttentionKind::mha && is_plain(a) && a.position == PositionKind::learned &&
         model.norm.kind == NormKind::layernorm && model.mlp.kind == MlpKind::gelu &&
         model.logit_softcap == 0 && a.n_head * a.head_dim == model.d_model;
}

class Writer {
 public:
  Writer(Form& form, Weights weights) : form_(form), weights_(weights) {}

  // Adds a tensor unchanged.
  void add(const std::string& name, const std::string& ours) {
    const ConstNamedTensor& tensor = *find(ours);
    form_.tensors.push_back({name, tensor.shape, tensor.data});
  }
  void add_norm(const std::string& name, const std::string& ours) {
    for (const char* part : {".weight", ".bias"}) add(name + part, ours + part);
  }

  // Combines linear layers, each [out, in], to one [in, sum of out]; missing biases become zeros.
  void add_linears(const std::string& name, const std::vector<std::string>& ours) {
    int64_t outs = 0;
    for (const std::string& linear : ours) outs += find(linear + ".weight")->shape[0];
    const int64_t ins = find(ours[0] + ".weight")->shape[1];
    float* const weight = make(name + ".weight", {ins, outs});
    float* const bias = make(name + ".bias", {outs});
    int64_t first = 0;
    for (const std::string& linear : ours) {
      const ConstNamedTensor& w = *find(linear + ".weight");
      for (int64_t out = 0; out < w.shape[0]; ++out)
        for (int64_t in = 0; in < ins; ++in) weight[in * outs + first + out] = w.data[size_t(out * ins + in)];
      if (const ConstNamedTensor* b = find(linear + ".bias", false))
        std::copy(b->data.begin(), b->data.end(), bias + first);
      first += w.shape[0];
    }
  }

 private:
  const ConstNamedTensor* find(const std::string& name, bool needed = true) const {
    const auto found = std::find_if(weights_.begin(), weights_.end(),
                                    [&](const ConstNamedTensor& tensor) { return tensor.name == name; });
    check(found != weights_.end() || !needed, "a model in the form of GPT-2 has the tensors of one");
    return found == weights_.end() ? nullptr : &*found;
  }

  float* make(const std::string& name, const std::vector<int64_t>& shape) {
    size_t count = 1;
    for (const int64_t n : shape) count *= size_t(n);
    form_.made.push_back(std::make_unique<float[]>(count));
    form_.tensors.push_back({name, shape, {form_.made.back().get(), count}});
    return form_.made.back().get();
  }

  Form& form_;
  Weights weights_;
};

}  // namespace

std::optional<Form> gpt2_form(const ModelConfig& model, Weights weights) {
  if (!fits_gpt2(model)) return std::nullopt;
  Form form{.architecture = "GPT2LMHeadModel",
            .note = "transformers' GPT2LMHeadModel computes exactly this model",
            .config = {{"model_type", "gpt2"},
                       {"vocab_size", model.vocab_size},
                       {"n_positions", model.max_seq_len},
                       {"n_embd", model.d_model},
                       {"n_layer", model.n_layer},
                       {"n_head", model.attention.n_head},
                       {"n_inner", model.mlp.hidden},
                       {"activation_function", "gelu_new"},
                       {"layer_norm_epsilon", model.norm.eps},
                       {"resid_pdrop", 0.0},
                       {"embd_pdrop", 0.0},
                       {"attn_pdrop", 0.0},
                       {"saslm_bias", model.bias},  // for import: false if the biases are zeros that we added
                       {"tie_word_embeddings", model.tie_embeddings}}};
  Writer writer(form, weights);
  writer.add("transformer.wte.weight", "embed.weight");
  writer.add("transformer.wpe.weight", "pos_embed.weight");
  for (int64_t i = 0; i < model.n_layer; ++i) {
    const std::string at = "transformer.h." + std::to_string(i) + ".",
                      ours = "layers." + std::to_string(i) + ".";
    writer.add_norm(at + "ln_1", ours + "attn_norm");
    writer.add_linears(at + "attn.c_attn", {ours + "attn.q", ours + "attn.k", ours + "attn.v"});
    writer.add_linears(at + "attn.c_proj", {ours + "attn.o"});
    writer.add_norm(at + "ln_2", ours + "mlp_norm");
    writer.add_linears(at + "mlp.c_fc", {ours + "mlp.up"});
    writer.add_linears(at + "mlp.c_proj", {ours + "mlp.down"});
  }
  writer.add_norm("transformer.ln_f", "final_norm");
  if (!model.tie_embeddings) writer.add("lm_head.weight", "head.weight");
  return form;
}

}  // namespace saslm
