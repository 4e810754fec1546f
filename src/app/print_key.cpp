#include "app/print_key.h"

#include <algorithm>
#include <cctype>
#include <iostream>

#include "app/text_layout.h"
#include "config/synonyms.h"

namespace saslm {
namespace {

// The default as for --set: strings without quotes, unless empty.
std::string default_of(const ConfigKey& key) {
  const std::string& value = key.default_value;
  return value.size() > 2 && value.front() == '"' ? value.substr(1, value.size() - 2) : value;
}

// Help, and in brackets conditions and default.
std::string summary(const ConfigKey& key) {
  std::string text = key.help;
  if (!key.conditions.empty()) text += " [" + key.conditions + "]";
  if (!key.default_value.empty()) text += " [default: " + default_of(key) + "]";
  return text;
}

std::string list(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// Names with the same meaning; a name that uses another unit does not count.
std::vector<std::string> names_elsewhere(const ConfigKey& key) {
  std::vector<std::string> names;
  for (const Synonym& one : synonyms())
    if (one.ours == key.path && *one.remark == '\0') names.emplace_back(one.theirs);
  return names;
}

// An example of --set, quoted if the shell requires it.
std::string set_option(const ConfigKey& key) {
  const std::string value =
      key.default_value.empty() && !key.words.empty() ? key.words.front() : default_of(key);
  if (value.empty()) return "--set " + key.path + "=VALUE";
  const auto plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_'; };
  const std::string word = key.path + "=" + value;
  return std::all_of(value.begin(), value.end(), plain) ? "--set " + word : "--set '" + word + "'";
}

}  // namespace

void print(const ConfigKey& key) {
  const int width = help_width();
  std::cout << wrapped(key.path + ": " + key.help, 0, width) << "\n";
  if (key.children.empty()) {
    std::vector<Row> rows = {{"Type", key.type}};
    rows.emplace_back("Default", key.default_value.empty() ? "none" : default_of(key));
    if (!key.conditions.empty()) rows.emplace_back("Condition", key.conditions);
    rows.emplace_back("On resume", key.on_resume);
    rows.emplace_back("Across ranks", key.across_ranks);
    rows.emplace_back("Example", set_option(key));
    const std::vector<std::string> elsewhere = names_elsewhere(key);
    if (!elsewhere.empty()) rows.emplace_back("In other trainers", list(elsewhere));
    std::cout << in_columns(rows, first_column_of(rows), width);
    return;
  }
  std::vector<Row> rows;
  for (const std::string& path : key.children)
    if (const auto child = config_key(path)) rows.emplace_back(path, summary(*child));
  if (!key.conditions.empty()) std::cout << "Condition: " << key.conditions << "\n\n";
  std::cout << "Keys:\n" << in_columns(rows, first_column_of(rows), width);
}

}  // namespace saslm
