#include "config/config.h"

#include <algorithm>
#include <sstream>
#include <type_traits>

#include "config/advice.h"
#include "config/fields.h"
#include "config/json_text.h"
#include "config/model_block.h"
#include "config/resolve.h"
#include "core/error.h"

namespace saslm {
namespace {

using nlohmann::json;

std::string join(const std::string& path, const std::string& key) {
  return path.empty() ? key : path + "." + key;
}

// ---- What a key accepts, in words.

template <size_t n>
std::string quoted(const std::array<const char*, n>& words) {
  std::string list;
  for (const char* word : words) list += (list.empty() ? "\"" : ", \"") + std::string(word) + "\"";
  return list;
}

std::string range(const Rule& rule) {
  std::ostringstream out;
  out.precision(16);
  out << " from " << rule.min << " to " << (rule.below_max ? "below " : "") << rule.max;
  return out.str();
}

std::string wanted(bool, const Rule&) {
  return "true or false";
}
std::string wanted(int64_t, const Rule& rule) {
  return "an integer" + range(rule);
}
std::string wanted(uint64_t, const Rule&) {
  return "an integer from 0 to 18446744073709551615";
}
std::string wanted(double, const Rule& rule) {
  return "a number" + range(rule);
}
std::string wanted(const std::string&, const Rule&) {
  return "a string";
}
std::string wanted(const std::vector<std::string>&, const Rule& rule) {
  return std::string("a path or a list of paths") + (rule.min > 0 ? ", at least one" : "");
}
std::string wanted(const Betas&, const Rule& rule) {
  return "a list of two numbers" + range(rule);
}
std::string wanted(const SimulatedParts&, const Rule&) {
  return "a list of one or more of " + quoted(SimulatedParts::words) + ", each at most once";
}
template <class E>
requires std::is_enum_v<E> std::string wanted(E, const Rule&) {
  return (Words<E>::all.size() > 1 ? "one of " : "") + quoted(Words<E>::all);
}
template <class T>
std::string wanted(const std::optional<T>&, const Rule&) {
  return "an object";
}
template <class P>
std::string wanted(const ProjectionBlock<P>&, const Rule&) {
  return "an object";
}
template <JsonObject T>
std::string wanted(const T&, const Rule&) {
  return "an object";
}

// ---- Reading one value: false if the key does not accept it.

bool in_range(double value, const Rule& rule) {
  return value >= rule.min && (rule.below_max ? value < rule.max : value <= rule.max);
}

bool read(const json& value, bool& out, const Rule&) {
  if (!value.is_boolean()) return false;
  out = value.get<bool>();
  return true;
}

bool read(const json& value, int64_t& out, const Rule& rule) {
  if (!value.is_number_integer() || !in_range(value.get<double>(), rule)) return false;
  out = value.get<int64_t>();
  return true;
}

bool read(const json& value, uint64_t& out, const Rule&) {
  if (!value.is_number_unsigned()) return false;
  out = value.get<uint64_t>();
  return true;
}

bool read(const json& value, double& out, const Rule& rule) {
  if (!value.is_number() || !in_range(value.get<double>(), rule)) return false;
  out = value.get<double>();
  return true;
}

bool read(const json& value, std::string& out, const Rule&) {
  if (!value.is_string()) return false;
  out = value.get<std::string>();
  return true;
}

bool read(const json& value, std::vector<std::string>& out, const Rule& rule) {
  out.clear();
  if (value.is_string() && value != "") out.push_back(value.get<std::string>());
  if (value.is_array()) {
    if (!std::all_of(value.begin(), value.end(), [](const json& entry) { return entry.is_string(); }))
      return false;
    out = value.get<std::vector<std::string>>();
  }
  return (value.is_string() || value.is_array()) && double(out.size()) >= rule.min;
}

bool read(const json& value, Betas out, const Rule& rule) {
  return value.is_array() && value.size() == 2 && read(value[0], out.beta1, rule) &&
         read(value[1], out.beta2, rule);
}

bool read(const json& value, SimulatedParts out, const Rule&) {
  if (!value.is_array() || value.empty()) return false;
  for (bool* flag : out.flags()) *flag = false;
  for (const json& entry : value) {
    const auto word =
        std::find_if(out.words.begin(), out.words.end(), [&](const char* w) { return entry == w; });
    if (word == out.words.end()) return false;
    bool& flag = *out.flags().at(static_cast<size_t>(word - out.words.begin()));
    if (flag) return false;
    flag = true;
  }
  return true;
}

template <class E>
requires std::is_enum_v<E>
bool read(const json& value, E& out, const Rule&) {
  const auto& words = Words<E>::all;
  const auto word = std::find_if(words.begin(), words.end(), [&](const char* w) { return value == w; });
  if (word == words.end()) return false;
  out = static_cast<E>(word - words.begin());
  return true;
}

// ---- Reading one object.

template <class T>
void read_block(const json& value, const std::string& path, T& out);

class Reader {
 public:
  Reader(const json& object, const std::string& path) : object_(object), path_(path) {}

  template <class T>
  void field(const char* key, T&& member, const Rule& rule) {
    const std::string path = join(path_, key);
    const auto found = object_.find(key);
    if (found == object_.end()) {
      if (rule.required || rule.required_now)
        throw ConfigError(path + " is missing; wanted " + wanted(member, rule) + " (" + rule.help + ")");
      return;
    }
    if (!rule.applies) throw ConfigError(path + ": " + rule.refusal);
    take(*found, path, member, rule);
  }

 private:
  template <class T>
  static void take(const json& value, const std::string& path, T& member, const Rule& rule) {
    if constexpr (JsonObject<T>) {
      read_block(value, path, member);
    } else if (!read(value, member, rule)) {
      throw ConfigError(path + ": wanted " + wanted(member, rule) + ", got " + describe(value));
    }
  }
  template <class T>
  static void take(const json& value, const std::string& path, std::optional<T>& member, const Rule&) {
    read_block(value, path, member.emplace());
  }
  template <class P>
  static void take(const json& value, const std::string& path, ProjectionBlock<P>& member, const Rule&) {
    read_block(value, path, member.projection.template emplace<P>());
  }

  const json& object_;
  const std::string& path_;
};

template <class T>
void read_block(const json& value, const std::string& path, T& out) {
  if (!value.is_object()) throw ConfigError(path + ": wanted an object, got " + describe(value));
  KeyList valid;
  visit_fields(valid, out);
  for (const auto& entry : value.items())
    if (std::find(valid.keys.begin(), valid.keys.end(), entry.key()) == valid.keys.end())
      throw ConfigError("unknown key " + shorten(join(path, entry.key())) +
                        advice_on_key(shorten(entry.key()), path, valid.keys));
  Reader reader(value, path);
  visit_fields(reader, out);
}

// Runs `work` and puts the source in front of its errors.
template <class Work>
auto naming(const std::string& source, Work work) {
  try {
    return work();
  } catch (const ConfigError& error) {
    throw ConfigError(source + ": " + error.what());
  }
}

}  // namespace

Config config_of(const json& root, const std::string& path, int64_t ranks) {
  Config config;
  config.train.ranks = ranks;
  config.train.grad_accum = 0;  // not given, so that global_batch may decide
  if (root.contains("base") && root.contains("variants"))
    throw ConfigError("this is the file of a comparison; run it with saslm compare");
  json fields = root;
  if (const auto schema = fields.find("$schema"); schema != fields.end() && schema->is_string())
    fields.erase(schema);  // used only by editors
  read_block(fields, "", config);
  resolve(config, path);
  return config;
}

Config load_config(const std::string& path, const std::vector<std::string>& overrides, int64_t ranks) {
  json root = naming(path, [&] { return read_config_object(path); });
  std::string source = path;
  for (const std::string& argument : overrides) {
    apply_override(root, argument);
    source += " with --set " + shorten(argument);
  }
  return naming(source, [&] { return config_of(root, path, ranks); });
}

ModelConfig load_model_config(const std::string& path) {
  return naming(path, [&] {
    require_file(path);
    const json root = read_config_object(path);
    if (!root.contains("model")) throw ConfigError("model is missing; wanted an object (the model to train)");
    return read_model_block(root["model"]);
  });
}

ModelConfig read_model_block(const json& block) {
  ModelConfig model;
  read_block(block, "model", model);
  resolve(model);
  return model;
}

}  // namespace saslm
