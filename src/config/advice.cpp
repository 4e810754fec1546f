#include "config/advice.h"

#include <algorithm>
#include <optional>

#include "config/json_text.h"
#include "config/keys.h"
#include "config/synonyms.h"
#include "core/nearest.h"

namespace saslm {

namespace {

std::string name_of_key(const std::string& path) {
  return path.substr(path.rfind('.') + 1);  // npos + 1 is 0
}

// The only path that ends in this key; nullopt if there are several or none.
std::optional<std::string> only_place_of(const std::string& key, const std::vector<std::string>& paths) {
  const auto is_it = [&](const std::string& path) { return name_of_key(path) == key; };
  if (std::count_if(paths.begin(), paths.end(), is_it) != 1) return {};
  return *std::find_if(paths.begin(), paths.end(), is_it);
}

// The path of the known key most similar to `key`, in any block.
std::optional<std::string> place_of_nearest(const std::string& key, const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  for (const std::string& path : paths) names.push_back(name_of_key(path));
  const std::optional<std::string> name = nearest(key, names);
  return name ? only_place_of(*name, paths) : std::nullopt;
}

std::string in_parentheses(const char* remark) {
  return *remark == '\0' ? "" : " (" + std::string(remark) + ")";
}

std::string list_of(const std::vector<std::string>& valid) {
  std::string list;
  for (const std::string& key : valid) list += (list.empty() ? "" : ", ") + key;
  return " Valid here: " + list;
}

}  // namespace

std::string advice_on_key(const std::string& key, const std::string& block,
                          const std::vector<std::string>& valid) {
  const std::optional<Synonym> synonym = synonym_of(key, block);
  const std::string ours = synonym ? synonym->ours : "",
                    remark = synonym ? in_parentheses(synonym->remark) : "";
  const std::string prefix = block.empty() ? "" : block + ".";
  for (const std::string& here : valid)
    if (ours == prefix + here) return "; did you mean " + here + remark + "?" + list_of(valid);
  const std::vector<std::string> paths = config_keys();
  if (const auto place = only_place_of(snake_case(key), paths)) return "; did you mean " + *place + "?";
  if (synonym && ours.empty()) return ": " + std::string(synonym->remark);
  if (synonym) return "; did you mean " + ours + remark + "?";
  if (!nearest(key, valid))
    if (const auto place = place_of_nearest(key, paths)) return "; did you mean " + *place + "?";
  return advice(key, valid);
}

std::string config_key_of(const std::string& word) {
  const std::vector<std::string> paths = config_keys();
  if (const auto place = only_place_of(snake_case(word), paths)) return *place;
  const std::optional<Synonym> synonym = synonym_of(word, "");
  return synonym ? synonym->ours : "";
}

}  // namespace saslm
