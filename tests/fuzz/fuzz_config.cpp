// Input: the text of a config file, and after each line "--set" an override. One that ends in a newline is
// read for its model block alone.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "config/config.h"
#include "core/error.h"
#include "fuzz/target.h"

namespace saslm::fuzz {
namespace of_config {

constexpr std::string_view kSet = "\n--set ";

void require_sound(const ModelConfig& m) {
  require(m.attention.n_head >= 1 && m.attention.head_dim >= 1, "a model has heads");
  require(m.vocab_size >= 2 && m.n_layer >= 1 && m.d_model >= 1 && m.mlp.hidden >= 1, "a model has a size");
}

void require_sound(const Config& c) {
  const auto absolute = [](const std::string& path) { return path.starts_with('/'); };
  require(!c.data.train.empty() && std::all_of(c.data.train.begin(), c.data.train.end(), absolute) &&
              std::all_of(c.data.val.begin(), c.data.val.end(), absolute),
          "paths of a resolved config are absolute");
  require(c.train.seq_len >= 1 && c.train.seq_len <= c.model.max_seq_len, "a sequence fits the model");
  require(c.train.steps >= 1 && c.train.micro_batch >= 1 && c.train.grad_accum >= 1, "a step has sequences");
  require_sound(c.model);
  for (const double x : {c.optim.lr, c.optim.eps, c.optim.weight_decay, c.optim.grad_clip})
    require(std::isfinite(x) && x >= 0, "optimiser settings are finite and not negative");
  require(c.optim.beta1 < 1 && c.optim.beta2 < 1, "moments decay");
}

bool run(std::string_view input) {
  static const Scratch scratch;
  const auto [text, rest] = cut(input, kSet);
  const std::vector<std::string> overrides = cut_all(rest, kSet);
  const std::string path = scratch.write("x.json", text);
  if (input.ends_with('\n')) return accepts<ConfigError>([&] { require_sound(load_model_config(path)); });
  return accepts<ConfigError>([&] {
    const Config config = load_config(path, overrides);
    require_sound(config);
    const std::string resolved = to_json(config);
    const std::string resolved_path = scratch.write("resolved.json", resolved);
    bool again = accepts<ConfigError>([&] {
      require(to_json(load_config(resolved_path)) == resolved, "a resolved config resolves to itself");
      require(to_json(load_model_config(resolved_path)) == to_json(config.model),
              "a model block can be read alone");
    });
    require(again, "a resolved config is accepted");
  });
}

// Every kind, and every key that the schema knows.
std::vector<std::string> seeds() {
  const auto with = [](const std::string& attention, const std::string& more = "") {
    return R"({"model": {"vocab_size": 256, "n_layer": 2, "d_model": 32, "max_seq_len": 16, "attention": )" +
           attention + R"(, "mlp": {"kind": "gelu", "hidden": 64}}, "data": {"train": "a.bin"})" + more + "}";
  };
  std::vector<std::string> all = {
      with(
          R"({"kind": "mha", "n_head": 4, "head_dim": 8, "position": "learned"})",
          R"(, "optim": {"lr": 1e-3, "betas": [0.9, 0.99], "schedule": {"kind": "wsd", "decay_fraction": 0.2}})"),
      with(R"({"kind": "mqa", "n_head": 4, "head_dim": 8, "rope_base": 500})",
           R"(, "train": {"steps": 9, "micro_batch": 2, "global_batch": 6, "seed": 18446744073709551615})"),
      with(R"({"kind": "gqa", "n_head": 4, "head_dim": 8, "n_kv_head": 2})",
           R"(, "eval": {"every_steps": 3}, "checkpoint": {"keep_last": 1}, "runtime": {"device": "cpu"})"),
      with(R"({"kind": "sas", "n_head": 4, "head_dim": 8,
               "sas": {"n_sim_head": 8, "sim_head_dim": 12, "kernel_size": 3, "init": "identity"}})"),
      with(R"({"kind": "gqa", "n_head": 4, "head_dim": 8, "n_kv_head": 2,
               "sas": {"simulate": ["heads", "values"], "n_sim_head": 8}})"),
      with(R"({"kind": "mla", "n_head": 4,
               "mla": {"q_rank": 8, "kv_rank": 8, "nope_dim": 8, "rope_dim": 4, "v_dim": 8}})"),
      with(R"({"kind": "tpa", "n_head": 4, "head_dim": 8, "tpa": {"q_rank": 3, "k_rank": 2, "v_rank": 2}})"),
      with(R"({"kind": "mha", "n_head": 4, "head_dim": 8, "window": {"size": 3, "pattern": "SL"}})"),
      with(R"({"kind": "mhe", "n_head": 4, "head_dim": 8, "mhe": {"form": "mul"}})"),
      with(R"({"kind": "moh", "n_head": 4, "head_dim": 8, "moh": {"n_shared_head": 1, "top_k": 2}})"),
  };
  all.push_back(all[0] + "\n--set optim.lr=0.1\n--set data.tokenizer=bytes\n--set data.val=[\"v.bin\"]");
  all.push_back(all[1] + "\n");
  return all;
}

// The keys of a schema, at any depth.
void collect_keys(const nlohmann::json& schema, std::vector<std::string>& keys) {
  for (const auto& [key, value] : schema.items()) {
    if (key == "properties")
      for (const auto& property : value.items()) keys.push_back(property.key());
    if (value.is_structured()) collect_keys(value, keys);
  }
}

std::vector<std::string> words() {
  std::vector<std::string> keys = {std::string(kSet)};
  collect_keys(nlohmann::json::parse(config_schema()), keys);
  return keys;
}

}  // namespace of_config

const Target kConfig = {"config", of_config::run, of_config::seeds, of_config::words()};

}  // namespace saslm::fuzz
