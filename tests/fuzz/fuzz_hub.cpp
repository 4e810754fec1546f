// Input: a config.json of transformers; after a line "%index", a model.safetensors.index.json.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "export/hf_config.h"
#include "export/import_form.h"
#include "export/weight_files.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_hub {

constexpr std::string_view kIndex = "\n%index\n";

int64_t count(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return n;
}

void require_sound(const ImportForm& form) {
  std::vector<std::string> names;
  for (const Piece& piece : form.pieces) {
    names.push_back(piece.ours);
    const int64_t last = piece.turned ? piece.their_shape.back() : count(piece.their_shape);
    const int64_t outs = piece.turned ? piece.shape[0] : count(piece.shape);
    require(piece.first >= 0 && piece.first + outs <= last, "a piece lies within its tensor");
    require(!piece.turned || piece.shape[1] == piece.their_shape[0],
            "a turned piece has their rows as columns");
  }
  std::sort(names.begin(), names.end());
  require(std::adjacent_find(names.begin(), names.end()) == names.end(), "each of our tensors comes once");
  require(form.model.n_layer * 9 < int64_t(names.size()), "every layer has its tensors");
}

// One weight, so that a form may look.
const Scratch& with_weights() {
  static const Scratch scratch;
  static const bool written = [] {
    const std::vector<float> values = {0, 0};
    const std::vector<ConstNamedTensor> tensors = {{"transformer.h.0.mlp.c_fc.bias", {2}, values}};
    SafetensorsWriter(scratch / "model.safetensors", tensors).write();
    return true;
  }();
  require(written, "weights can be written");
  return scratch;
}

bool run(std::string_view input) {
  const auto [config, index] = cut(input, kIndex);
  const Scratch& scratch = with_weights();
  scratch.write("config.json", config);
  WeightFiles weights(scratch / "");
  const bool known = accepts<ConfigError>([&] {
    HfConfig read(scratch / "");
    const ImportForm form = import_form(read, weights);
    read.check_rest();
    require_sound(form);
  });
  const bool listed = accepts<CheckpointError>([&, text = std::string(index)] {
    for (const auto& [tensor, file] : parse_weight_index(text, "index"))
      require(file.find('/') == file.npos && file != "..", "a shard lies beside its index");
  });
  return known || listed;
}

std::vector<std::string> seeds() {
  return {
      R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","vocab_size":64,"hidden_size":8,"intermediate_size":12,)"
      R"("num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":4,"hidden_act":"silu",)"
      R"("max_position_embeddings":16,"rms_norm_eps":1e-6,"rope_parameters":{"rope_type":"default","rope_theta":1e4},)"
      R"("attention_bias":true,"mlp_bias":true,"tie_word_embeddings":true,"top_p":0.5,"layer_types":["full_attention"]})" +
          std::string(kIndex) +
          R"({"metadata":{"total_size":8},"weight_map":{"a":"x.safetensors","b":"y.safetensors"}})",
      R"({"model_type":"gpt2","vocab_size":64,"n_positions":8,"n_embd":8,"n_layer":1,"n_head":2,"n_inner":null,"saslm_bias":false,)"
      R"("activation_function":"gelu_new","scale_attn_weights":true,"rope_scaling":null,"summary_type":"x"})"};
}

}  // namespace of_hub

const Target kHub = {"hub",
                     of_hub::run,
                     of_hub::seeds,
                     {std::string(of_hub::kIndex), "sliding_window", "rope_theta", "null", ".."}};

}  // namespace saslm::fuzz
