#include "config/keys.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "config/config.h"
#include "config/policy.h"

namespace saslm {
namespace {

using nlohmann::ordered_json;
using Names = std::vector<std::string>;

std::string joined(const Names& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

// 1000.0 as 1000, as a person writes it.
std::string number(const ordered_json& value) {
  const std::string text = value.dump();
  return text.ends_with(".0") ? text.substr(0, text.size() - 2) : text;
}

std::string range(const ordered_json& schema) {
  const std::string least = number(schema["minimum"]);
  if (schema.contains("exclusiveMaximum"))
    return " of at least " + least + " and less than " + number(schema["exclusiveMaximum"]);
  return " from " + least + " to " + number(schema["maximum"]);
}

std::string type_of(const ordered_json& schema) {
  if (schema.contains("enum")) return "one of " + joined(schema["enum"].get<Names>());
  if (schema["type"].is_array()) return "string, or list of strings";
  const std::string type = schema["type"];
  if (type == "object") return "block of keys";
  if (type == "boolean") return "true or false";
  if (type == "integer" || type == "number") return type + range(schema);
  if (type != "array") return type;
  const ordered_json& items = schema["items"];
  if (items.contains("enum")) return "list of one or more of " + joined(items["enum"].get<Names>());
  return "list of " + schema["minItems"].dump() + ": each a " + type_of(items);
}

// "kind sas", "kind tpa or mhe", or "every kind but mla", whichever is shorter.
std::string kinds(const Names& some, const Names& all) {
  if (2 * some.size() <= all.size()) {
    std::string list = "kind ";
    for (size_t i = 0; i < some.size(); ++i)
      list += (i == 0 ? "" : i + 1 < some.size() ? ", " : " or ") + some[i];
    return list;
  }
  Names others;
  for (const std::string& kind : all)
    if (std::find(some.begin(), some.end(), kind) == some.end()) others.push_back(kind);
  return others.empty() ? "every kind" : "every kind but " + joined(others);
}

// The conditions that a block's "kind" sets for another key.
std::string conditions_of(const std::string& key, const ordered_json& block) {
  const ordered_json& always = block.value("required", ordered_json::array());
  if (std::find(always.begin(), always.end(), key) != always.end()) return "required";
  Names required, refused;
  for (const ordered_json& rule : block.value("allOf", ordered_json::array())) {
    const std::string kind = rule["if"]["properties"]["kind"]["const"];
    const ordered_json& then = rule["then"];
    const ordered_json& names = then.value("required", ordered_json::array());
    if (std::find(names.begin(), names.end(), key) != names.end()) required.push_back(kind);
    if (then.value("properties", ordered_json::object()).contains(key)) refused.push_back(kind);
  }
  if (required.empty() && refused.empty()) return "";
  const Names all = block["properties"]["kind"]["enum"].get<Names>();
  const std::string need = required.empty() ? "" : "required under " + kinds(required, all);
  if (refused.empty()) return need;
  if (!need.empty() && required.size() + refused.size() == all.size())
    return need + "; refused under all others";
  return (need.empty() ? "" : need + "; ") + "refused under " + kinds(refused, all);
}

const char* text_of(OnResume rule) {
  switch (rule) {
    case OnResume::inherited:
    case OnResume::same:
      break;
    case OnResume::reported:
      return "may change, with a warning; the run's numbers change from that step on";
    case OnResume::free:
      return "may change";
  }
  return "a change is refused";
}

Names words_of(const ordered_json& schema) {
  if (schema.contains("enum")) return schema["enum"].get<Names>();
  return schema.value("type", ordered_json()) == "boolean" ? Names{"true", "false"} : Names{};
}

void collect(const ordered_json& schema, const std::string& block, std::vector<std::string>& paths) {
  if (!schema.contains("properties")) return;
  for (const auto& property : schema["properties"].items()) {
    const std::string path = block.empty() ? property.key() : block + "." + property.key();
    if (property.key() != "$schema") paths.push_back(path);
    collect(property.value(), path, paths);
  }
}

}  // namespace

std::vector<std::string> config_keys() {
  std::vector<std::string> paths;
  collect(ordered_json::parse(config_schema()), "", paths);
  return paths;
}

std::optional<ConfigKey> config_key(const std::string& path) {
  const ordered_json root = ordered_json::parse(config_schema());
  const ordered_json *schema = &root, *block = nullptr;
  std::string name;
  std::istringstream names(path);
  for (std::string next; std::getline(names, next, '.');) {
    name = next;
    if (!schema->contains("properties") || !(*schema)["properties"].contains(name)) return {};
    block = schema;
    schema = &(*schema)["properties"][name];
  }
  if (block == nullptr || path.ends_with(".")) return {};
  ConfigKey key{.path = path,
                .help = schema->value("description", ""),
                .type = type_of(*schema),
                .conditions = conditions_of(name, *block),
                .words = words_of(*schema)};
  if (schema->contains("default")) key.default_value = number((*schema)["default"]);
  if (!schema->contains("properties")) {
    std::string pointer = "/" + path;
    std::replace(pointer.begin(), pointer.end(), '.', '/');
    const Policy policy = policy_of(pointer);
    key.on_resume = text_of(policy.on_resume);
    key.across_ranks = policy.across_ranks == AcrossRanks::free ? "may differ" : "must agree";
  } else
    for (const auto& property : (*schema)["properties"].items())
      key.children.push_back(path + "." + property.key());
  return key;
}

}  // namespace saslm
