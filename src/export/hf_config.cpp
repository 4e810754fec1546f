#include "export/hf_config.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "config/json_text.h"
#include "core/error.h"
#include "core/file.h"

namespace saslm {
namespace {

using nlohmann::json;

// Keys about training, storage, names or sampling, which do not change logits; each between spaces.
constexpr std::string_view kOfNoEffect =
    " _name_or_path _attn_implementation _attn_implementation_autoset architectures "
    "attention_dropout attn_implementation attn_pdrop bad_words_ids begin_suppress_tokens "
    "bos_token_id chunk_size_feed_forward decoder_start_token_id diversity_penalty do_sample "
    "dtype early_stopping embd_pdrop encoder_no_repeat_ngram_size eos_token_id "
    "exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id "
    "gradient_checkpointing id2label initializer_range keys_to_ignore_at_inference label2id "
    "length_penalty max_length min_length model_type n_ctx no_repeat_ngram_size num_beam_groups "
    "num_beams num_return_sequences output_attentions output_hidden_states output_scores "
    "pad_token_id prefix pretraining_tp problem_type remove_invalid_values repetition_penalty "
    "resid_pdrop return_dict return_dict_in_generate sep_token_id suppress_tokens "
    "task_specific_params temperature tokenizer_class torch_dtype transformers_version typical_p "
    "tie_encoder_decoder is_decoder use_bfloat16 use_cache ";
// Prefixes of more such keys.
constexpr std::string_view kFamiliesOfNoEffect[] = {"summary_", "top_", "tf_", "unsloth_", "torchscript"};

// Keys that change the model, with a description of the change.
constexpr std::pair<std::string_view, std::string_view> kNotComputed[] = {
    {"add_cross_attention", "cross-attention"},
    {"attention_multiplier", "a non-standard scale of attention scores"},
    {"attn_logit_softcapping", "a soft cap on attention scores"},
    {"auto_map", "a class that comes with the model"},
    {"clip_qkv", "clipped queries, keys and values"},
    {"embedding_multiplier", "scaled embeddings"},
    {"final_logit_softcapping", "a soft cap on the logits of this class"},
    {"is_encoder_decoder", "an encoder"},
    {"layer_types", "layers with different kinds of attention"},
    {"logit_scale", "scaled logits"},
    {"logits_scaling", "scaled logits"},
    {"no_rope_layers", "layers without positions"},
    {"num_experts", "experts"},
    {"num_local_experts", "experts"},
    {"partial_rotary_factor", "partial rotary embeddings"},
    {"pruned_heads", "pruned heads"},
    {"qk_layernorm", "normalised queries and keys"},
    {"quantization_config", "quantised weights"},
    {"residual_multiplier", "scaled residuals"},
    {"sliding_window", "sliding windows"},
    {"use_qk_norm", "normalised queries and keys"},
    {"use_sliding_window", "sliding windows"},
    {"query_pre_attn_scalar", "a non-standard scale of attention scores"},
};

bool has_no_effect(const std::string& key) {
  const bool listed =
      key.find(' ') == key.npos && kOfNoEffect.find(" " + key + " ") != std::string_view::npos;
  return listed || std::any_of(std::begin(kFamiliesOfNoEffect), std::end(kFamiliesOfNoEffect),
                               [&](std::string_view family) { return key.starts_with(family); });
}

bool is_nothing(const json& value) {
  return value.is_null() || value == false || ((value.is_object() || value.is_array()) && value.empty());
}

bool all_full_attention(const std::string& key, const json& value) {
  return key == "layer_types" && value.is_array() &&
         std::all_of(value.begin(), value.end(), [](const json& kind) { return kind == "full_attention"; });
}

json read(const std::string& path) {
  if (!path_exists(path))
    throw ConfigError(path + ": not found; wanted a model folder as transformers' save_pretrained writes it");
  try {
    require_file(path);
    return read_json_object(path);
  } catch (const ConfigError& error) {
    throw ConfigError(path + ": " + error.what());
  }
}

}  // namespace

HfConfig::HfConfig(const std::string& folder)
    : path_(folder + "/config.json"), whole_(read(folder + "/config.json")) {}

void HfConfig::refuse(const std::string& key, const std::string& wanted) const {
  const auto found = whole_.find(key);
  throw ConfigError(path_ + ": " + key + ": wanted " + wanted + ", got " +
                    (found == whole_.end() ? "nothing" : describe(*found)));
}

const json* HfConfig::find(const std::string& key) {
  taken_.insert(key);
  const auto found = whole_.find(key);
  return found == whole_.end() || found->is_null() ? nullptr : &*found;
}

int64_t HfConfig::size(const std::string& key, std::optional<int64_t> otherwise) {
  const json* const value = find(key);
  if (!value && otherwise) return *otherwise;
  if (!value || !value->is_number_integer() || *value < 1 || *value > int64_t(1) << 40)
    refuse(key, "an integer from 1 to 2^40");
  return value->get<int64_t>();
}

double HfConfig::number(const std::string& key, double otherwise) {
  const json* const value = find(key);
  if (value && !value->is_number()) refuse(key, "a number");
  return value ? value->get<double>() : otherwise;
}

bool HfConfig::flag(const std::string& key, bool otherwise) {
  const json* const value = find(key);
  if (value && !value->is_boolean()) refuse(key, "true or false");
  return value ? value->get<bool>() : otherwise;
}

std::string HfConfig::word(const std::string& key, const std::string& otherwise) {
  const json* const value = find(key);
  if (value && !value->is_string()) refuse(key, "a string");
  return value ? value->get<std::string>() : otherwise;
}

double HfConfig::rope_base() {
  double base = number("rope_theta", 10000);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json* const rope = find(key);
    if (!rope) continue;
    if (!rope->is_object()) refuse(key, "an object");
    for (const auto& [part, value] : rope->items()) {
      if (part == "rope_theta" && value.is_number())
        base = value.get<double>();
      else if ((part == "rope_type" || part == "type") && value == "default")
        continue;
      else if (!(part == "partial_rotary_factor" && value == 1) && !value.is_null())
        refuse(key, "plain rotary positions, \"rope_type\": \"default\" (saslm scales none)");
    }
  }
  return base;
}

void HfConfig::check_rest() {
  for (const auto& [key, value] : whole_.items()) {
    const std::string& name = key;
    if (taken_.contains(key) || value.is_null() || (value.is_structured() && value.empty())) continue;
    if (has_no_effect(name)) continue;
    const auto known = std::find_if(std::begin(kNotComputed), std::end(kNotComputed),
                                    [&](const auto& entry) { return entry.first == name; });
    const bool plain =
        is_nothing(value) || all_full_attention(key, value) || (key == "partial_rotary_factor" && value == 1);
    if (known != std::end(kNotComputed) && plain) continue;
    if (known != std::end(kNotComputed))
      refuse(key, "none: saslm does not support " + std::string(known->second));
    refuse(shorten(key),
           "a key that saslm knows, since others might change the logits (if this one does not, remove it "
           "from config.json)");
  }
}

}  // namespace saslm
