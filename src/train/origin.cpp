#include "train/origin.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace saslm {
namespace {

using nlohmann::json;

// Every text of an origin beside its kind; each is written where it is not empty.
constexpr std::array<std::pair<const char*, std::string Origin::*>, 4> kTexts = {
    {{"path", &Origin::path},
     {"state_hash", &Origin::state_hash},
     {"weights_xxh3", &Origin::weights_xxh3},
     {"taken", &Origin::taken}}};

}  // namespace

nlohmann::ordered_json to_json(const Origin& origin) {
  if (origin.kind.empty()) return nullptr;
  nlohmann::ordered_json j = {{"kind", origin.kind}};
  for (const auto& [key, text] : kTexts)
    if (!(origin.*text).empty()) j[key] = origin.*text;
  return j;
}

Origin origin_from_json(const json& j, const std::string& what) {
  const auto refuse = [&] {
    throw CheckpointError(what + " is not one of ours: wanted an origin of kind and " +
                          "path, state_hash, weights_xxh3, taken as texts, got " +
                          j.dump(-1, ' ', false, json::error_handler_t::replace));
  };
  if (!j.is_object() || !j.contains("kind")) refuse();
  Origin origin;
  for (const auto& [key, value] : j.items()) {
    if (!value.is_string() || value.get_ref<const std::string&>().empty()) refuse();
    std::string* text = key == "kind" ? &origin.kind : nullptr;
    for (const auto& [name, member] : kTexts)
      if (key == name) text = &(origin.*member);
    if (text == nullptr) refuse();
    value.get_to(*text);
  }
  return origin;
}

std::string describe(const Origin& origin) {
  if (origin.kind.empty()) return "not known";
  if (origin.path.empty()) return origin.kind == "seed" ? "weights drawn by train.seed" : origin.kind;
  return origin.taken + " of " + origin.path +
         (origin.state_hash.empty() ? "" : ", state hash " + origin.state_hash) + ", model.safetensors " +
         origin.weights_xxh3;
}

}  // namespace saslm
