#include "train/run_state.h"

#include <array>
#include <nlohmann/json.hpp>

#include "checkpoint/json_strict.h"
#include "config/json_text.h"
#include "config/policy.h"
#include "core/error.h"

namespace saslm {
namespace {

using nlohmann::json;

constexpr int kStateVersion = 1;
constexpr int kMaxDepth = 2;  // { "data": { } }, { "origin": { } }
constexpr int kMaxConfigDepth = 16;
constexpr const char* kMicroBatch = "/train/micro_batch";
constexpr const char* kGradAccum = "/train/grad_accum";
constexpr const char* kGlobalBatch = "/train/global_batch";  // in place of grad_accum where several ranks ran
constexpr const char* kSequences = "/train/sequences_per_step";  // not a key: see flat_config

OnResume on_resume(const std::string& pointer) {
  return pointer == kSequences ? OnResume::same : policy_of(pointer).on_resume;
}

// The leaves of a config by their JSON pointers, and how many sequences a step has: how these are cut into
// micro-batches may change (the last bits follow), their number may not.
json flat_config(const std::string& text, const std::string& where) {
  const std::string what = where + ": config.json";
  const json config = parse_json_strict(text, what, kMaxConfigDepth);
  if (!config.is_object() || config.empty()) throw CheckpointError(what + " holds no config");
  json flat = config.flatten();
  if (flat.contains(kGlobalBatch)) {
    flat[kSequences] = flat[kGlobalBatch];
  } else if (flat.contains(kMicroBatch) && flat.contains(kGradAccum)) {
    int64_t sequences = 0;
    if (__builtin_mul_overflow(count_at(flat, kMicroBatch, what), count_at(flat, kGradAccum, what),
                               &sequences))
      throw CheckpointError(what + ": a step of 2^63 sequences or more");
    flat[kSequences] = sequences;
  }
  return flat;
}

TokenizerIdentity tokenizer_from(const json& j, const std::string& what) {
  if (!j.contains("tokenizer")) return {};
  const json& of = j["tokenizer"];
  if (of.size() != 2) throw CheckpointError(what + " is not one of ours: tokenizer has other keys");
  TokenizerIdentity tokenizer{of.at("name").get<std::string>(), of.at("fingerprint").get<std::string>()};
  if (tokenizer.name.empty()) throw CheckpointError(what + " is not one of ours: tokenizer has no name");
  return tokenizer;
}

struct PlatformField {
  const char* key;
  std::string Platform::*value;
};
constexpr std::array kPlatform = {
    PlatformField{"gpu", &Platform::gpu}, PlatformField{"capability", &Platform::capability},
    PlatformField{"driver", &Platform::driver}, PlatformField{"runtime", &Platform::runtime},
    PlatformField{"library", &Platform::library}};

// Checkpoints from before it was kept have none.
Platform platform_from(const json& j, const std::string& what) {
  Platform platform;
  if (!j.contains("platform")) return platform;
  for (const auto& [key, value] : kPlatform) platform.*value = j["platform"].value(key, "");
  if (to_json(platform).size() != j["platform"].size() || j["platform"].empty())
    throw CheckpointError(what + " is not one of ours: platform has other keys");
  return platform;
}

bool differ(const std::string& then, const std::string& now) {
  return !then.empty() && !now.empty() && then != now;
}

void add_change(std::vector<std::string>& lines, const std::string& what, const std::string& then,
                const std::string& now) {
  if (differ(then, now)) lines.push_back(what + ": " + then + " in the checkpoint, " + now + " now");
}

}  // namespace

std::string to_json(const RunState& state) {
  json j = {
      {"version", kStateVersion},
      {"step", state.step},
      {"updates", state.updates},
      {"tokens", state.tokens},
      {"sample_index", state.sample_index},
      {"bad_steps_in_row", state.detector.bad_in_row},
      {"recent_losses", std::vector<double>(state.detector.losses.begin(), state.detector.losses.end())},
      {"data", {{"train", state.train_fingerprint}, {"val", state.val_fingerprint}}},
      {"ranks", state.ranks}};
  const auto& [device, precision, build, platform] = state.computed_by;
  for (const auto& [key, value] : {std::pair{"product_table", state.product_table},
                                   {"eval_sample", state.eval_sample},
                                   {"device", device},
                                   {"precision", precision},
                                   {"build", build}})
    if (!value.empty()) j[key] = value;
  if (!state.avoided.empty()) j["avoided"] = state.avoided;
  if (const nlohmann::ordered_json known = to_json(platform); !known.empty()) j["platform"] = known;
  if (!state.tokenizer.name.empty())
    j["tokenizer"] = {{"name", state.tokenizer.name}, {"fingerprint", state.tokenizer.fingerprint}};
  if (!state.origin.kind.empty()) j["origin"] = to_json(state.origin);
  return j.dump(2) + "\n";
}

RunState run_state_from_json(const std::string& text, const std::string& where) {
  try {
    const std::string what = where + ": state.json";
    json j = parse_json_strict(text, what, kMaxDepth);
    if (j.at("version") != kStateVersion)
      throw CheckpointError(what + " has version " + j.at("version").dump() + ", wanted " +
                            std::to_string(kStateVersion) + "; use the saslm that wrote it");
    RunState state;
    state.step = count_at(j, "step", what);
    state.updates = count_at(j, "updates", what);
    state.tokens = count_at(j, "tokens", what);
    if (!j.at("sample_index").is_number_unsigned())
      throw CheckpointError(what + ": wanted sample_index as an integer, 0 .. 2^64-1, got " +
                            j["sample_index"].dump());
    state.sample_index = j["sample_index"].get<uint64_t>();
    state.detector.bad_in_row = count_at(j, "bad_steps_in_row", what);
    const auto losses = j.at("recent_losses").get<std::vector<double>>();
    state.detector.losses.assign(losses.begin(), losses.end());
    state.product_table = j.value("product_table", "");
    state.eval_sample = j.value("eval_sample", "");
    state.avoided = j.value("avoided", std::vector<std::string>());
    state.computed_by = {j.value("device", ""), j.value("precision", ""), j.value("build", ""),
                         platform_from(j, what)};
    if (j.at("data").size() != 2)
      throw CheckpointError(where + ": state.json is not one of ours: data has keys beside train and val");
    state.train_fingerprint = j.at("data").at("train").get<std::string>();
    state.val_fingerprint = j.at("data").at("val").get<std::string>();
    state.tokenizer = tokenizer_from(j, what);
    if (j.contains("origin")) state.origin = origin_from_json(j["origin"], what);
    return state;
  } catch (const json::exception& e) {
    throw CheckpointError(where + ": state.json is not one of ours: " + e.what());
  }
}

nlohmann::ordered_json to_json(const Platform& platform) {
  auto fields = nlohmann::ordered_json::object();
  for (const auto& [key, value] : kPlatform)
    if (!(platform.*value).empty()) fields[key] = platform.*value;
  return fields;
}

std::vector<std::string> other_arithmetic(const ComputedBy& then, const ComputedBy& now) {
  std::vector<std::string> lines;
  add_change(lines, "device", then.device, now.device);
  add_change(lines, "precision", then.precision, now.precision);
  add_change(lines, "GPU", then.platform.gpu, now.platform.gpu);
  add_change(lines, "library of matrix products", then.platform.library, now.platform.library);
  return lines;
}

std::vector<std::string> other_build(const ComputedBy& then, const ComputedBy& now) {
  std::vector<std::string> lines;
  if (differ(then.build, now.build)) lines.push_back("another build of saslm saved the checkpoint");
  add_change(lines, "driver", then.platform.driver, now.platform.driver);
  add_change(lines, "CUDA's runtime", then.platform.runtime, now.platform.runtime);
  return lines;
}

std::vector<std::string> check_resumable(const std::string& saved_config, const std::string& current_config,
                                         const std::string& where) {
  const json saved = flat_config(saved_config, where), current = flat_config(current_config, where);
  json keys = saved;
  keys.update(current);

  std::string refused;
  std::vector<std::string> noted;
  for (const auto& [pointer, unused] : keys.items()) {
    const std::string before = saved.contains(pointer) ? saved[pointer].dump() : "absent";
    const std::string now = current.contains(pointer) ? current[pointer].dump() : "absent";
    if (before == now) continue;
    const std::string line = dotted(pointer) + ": " + before + " in the checkpoint, " + now + " now";
    const OnResume rule = on_resume(pointer);
    if (rule == OnResume::same) refused += (refused.empty() ? " " : "; ") + line;
    if (rule == OnResume::reported) noted.push_back(line);
  }
  if (!refused.empty())
    throw CheckpointError(where + ": this run cannot be resumed with a config that differs in" + refused +
                          "; restore these, or start another run with another --run-dir (weights alone: "
                          "--init-from)");
  return noted;
}

}  // namespace saslm
