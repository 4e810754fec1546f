// Config -> resolved JSON, and the JSON Schema of what load_config reads.
#include <nlohmann/json.hpp>
#include <type_traits>

#include "config/config.h"
#include "config/fields.h"

namespace saslm {
namespace {

using nlohmann::ordered_json;  // keys in the order of the visitors

template <class V, class T>
ordered_json visited(T c) {
  V visitor;
  visit_fields(visitor, c);
  return visitor.result();
}

class Writer {
 public:
  template <class T>
  void field(const char* key, T&& member, const Rule& rule) {
    if (!rule.applies || !rule.written) return;
    ordered_json value = encode(member);
    if (!value.is_null()) object_[key] = std::move(value);
  }
  const ordered_json& result() const { return object_; }

  template <class T>
  static ordered_json encode(const T& value) {
    if constexpr (std::is_enum_v<T>)
      return word_of(value);
    else if constexpr (JsonObject<T>)
      return visited<Writer>(value);
    else
      return value;
  }
  template <class T>
  static ordered_json encode(const std::optional<T>& value) {
    return value ? visited<Writer>(*value) : ordered_json();
  }
  template <class P>
  static ordered_json encode(const ProjectionBlock<P>& value) {
    return visited<Writer>(std::get<P>(value.projection));
  }
  static ordered_json encode(const Betas& value) { return {value.beta1, value.beta2}; }
  static ordered_json encode(const SimulatedParts& value) {
    ordered_json words = ordered_json::array();
    for (size_t i = 0; i < value.words.size(); ++i)
      if (*value.flags()[i]) words.push_back(value.words[i]);
    return words;
  }

 private:
  ordered_json object_ = ordered_json::object();
};

// Keys that are required or refused only under some conditions.
class Conditions {
 public:
  template <class T>
  void field(const char* key, T&&, const Rule& rule) {
    if (rule.required_now) result_["required"].push_back(key);
    if (!rule.applies) result_["properties"][key] = false;
  }
  const ordered_json& result() const { return result_; }

 private:
  ordered_json result_;
};

// The conditions of each kind of a block; if kind is absent, the default applies.
template <class T>
ordered_json by_kind() {
  using Kind = decltype(T::kind);
  ordered_json all = ordered_json::array();
  for (size_t i = 0; i < Words<Kind>::all.size(); ++i) {
    T block;
    const bool by_default = block.kind == Kind(i);
    block.kind = Kind(i);
    ordered_json then = visited<Conditions>(block);
    if (then.is_null()) continue;
    ordered_json when = {{"properties", {{"kind", {{"const", Words<Kind>::all[i]}}}}}};
    if (!by_default) when["required"] = {"kind"};
    all.push_back({{"if", when}, {"then", then}});
  }
  return all;
}

class Schema {
 public:
  template <class T>
  void field(const char* key, T&& member, const Rule& rule) {
    ordered_json schema = shape(member, rule);
    schema["description"] = rule.help;
    if (rule.required)
      required_.push_back(key);
    else if (!rule.required_now && has_default(member, rule))
      schema["default"] = Writer::encode(member);
    properties_[key] = std::move(schema);
  }
  ordered_json result() const {
    ordered_json schema = {{"type", "object"}, {"additionalProperties", false}, {"properties", properties_}};
    if (!required_.empty()) schema["required"] = required_;
    return schema;
  }

 private:
  // An object's defaults are those of its keys; a number below its range means "not given".
  template <class T>
  static bool has_default(const T& value, const Rule& rule) {
    if constexpr (JsonObject<T>)
      return false;
    else if constexpr (std::is_arithmetic_v<T>)
      return double(value) >= rule.min;
    else
      return true;
  }

  template <class T>
  static bool has_default(const std::optional<T>&, const Rule&) {
    return false;
  }
  template <class P>
  static bool has_default(const ProjectionBlock<P>&, const Rule&) {
    return false;
  }

  static ordered_json number(const char* type, const Rule& rule) {
    ordered_json schema = {{"type", type}};
    const auto limit = [&](double bound) {
      return type == std::string("integer") ? ordered_json(int64_t(bound)) : ordered_json(bound);
    };
    schema["minimum"] = limit(rule.min);
    schema[rule.below_max ? "exclusiveMaximum" : "maximum"] = limit(rule.max);
    return schema;
  }
  static ordered_json shape(bool, const Rule&) { return {{"type", "boolean"}}; }
  static ordered_json shape(int64_t, const Rule& rule) { return number("integer", rule); }
  static ordered_json shape(uint64_t, const Rule&) {
    return {{"type", "integer"}, {"minimum", 0}, {"maximum", std::numeric_limits<uint64_t>::max()}};
  }
  static ordered_json shape(double, const Rule& rule) { return number("number", rule); }
  static ordered_json shape(const std::string&, const Rule&) { return {{"type", "string"}}; }
  static ordered_json shape(const std::vector<std::string>&, const Rule& rule) {
    const int least = int(rule.min);
    return {{"type", {"string", "array"}},
            {"minLength", least},
            {"minItems", least},
            {"items", {{"type", "string"}, {"minLength", 1}}}};
  }
  static ordered_json shape(const Betas&, const Rule& rule) {
    return {{"type", "array"}, {"minItems", 2}, {"maxItems", 2}, {"items", number("number", rule)}};
  }
  static ordered_json shape(const SimulatedParts& parts, const Rule&) {
    return {{"type", "array"}, {"minItems", 1}, {"uniqueItems", true}, {"items", {{"enum", parts.words}}}};
  }
  template <class E>
  requires std::is_enum_v<E>
  static ordered_json shape(E, const Rule&) { return {{"enum", Words<E>::all}}; }
  template <class T>
  static ordered_json shape(const std::optional<T>&, const Rule&) {
    return visited<Schema>(T{});
  }
  template <class P>
  static ordered_json shape(const ProjectionBlock<P>&, const Rule&) {
    return visited<Schema>(P{});
  }
  template <JsonObject T>
  static ordered_json shape(const T&, const Rule&) {
    ordered_json schema = visited<Schema>(T{});
    if constexpr (requires { T::kind; })
      if (ordered_json conditions = by_kind<T>(); !conditions.empty())
        schema["allOf"] = std::move(conditions);
    return schema;
  }

  ordered_json properties_ = ordered_json::object(), required_ = ordered_json::array();
};

}  // namespace

std::string to_json(const Config& config) {
  return Writer::encode(config).dump(2) + "\n";
}
std::string to_json(const ModelConfig& config) {
  return Writer::encode(config).dump(2) + "\n";
}

std::string config_schema() {
  ordered_json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "saslm run"}};
  schema.update(visited<Schema>(Config{}));
  schema["properties"]["$schema"] = {{"type", "string"},
                                     {"description", "Location of this schema, for editors"}};
  return schema.dump(2) + "\n";
}

const char* name_of(AttentionKind kind) {
  return word_of(kind);
}
const char* name_of(PositionKind kind) {
  return word_of(kind);
}
const char* name_of(NormKind kind) {
  return word_of(kind);
}
const char* name_of(MlpKind kind) {
  return word_of(kind);
}
const char* name_of(ScheduleKind kind) {
  return word_of(kind);
}
const char* name_of(Recompute recompute) {
  return word_of(recompute);
}

}  // namespace saslm
