// A JSON value with its path, so that errors can name file and key.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace saslm {

class JsonNode {
 public:
  static constexpr int64_t kMaxVocab = 1 << 22;

  JsonNode(const std::string& file, std::string key, const nlohmann::json& value)
      : file_(file), key_(std::move(key)), value_(value) {}

  const nlohmann::json& value() const { return value_; }

  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(file_ + ": " + (key_.empty() ? "" : key_ + ": ") + what);
  }
  [[noreturn]] void wanted(const std::string& what) const { fail("wanted " + what + ", got " + shown()); }

  std::optional<JsonNode> find(const std::string& name) const {
    if (!value_.is_object()) wanted("an object");
    const auto it = value_.find(name);
    if (it == value_.end() || it->is_null()) return std::nullopt;
    return JsonNode(file_, key_.empty() ? name : key_ + "." + name, *it);
  }
  JsonNode at(const std::string& name) const {
    const auto node = find(name);
    if (!node) fail("\"" + name + "\" is missing");
    return *node;
  }
  std::vector<JsonNode> items() const {
    if (!value_.is_array()) wanted("a list");
    std::vector<JsonNode> nodes;
    nodes.reserve(value_.size());
    for (size_t i = 0; i < value_.size(); ++i)
      nodes.emplace_back(file_, key_ + "[" + std::to_string(i) + "]", value_[i]);
    return nodes;
  }
  const std::string& text() const {
    if (!value_.is_string()) wanted("a string");
    return value_.get_ref<const std::string&>();
  }
  int32_t id() const {
    if (!value_.is_number_integer() || value_ < 0 || value_ >= kMaxVocab)
      wanted("a token id, 0 .. " + std::to_string(kMaxVocab - 1));
    return value_.get<int32_t>();
  }
  bool flag(const std::string& name, bool otherwise) const {
    const auto node = find(name);
    if (!node) return otherwise;
    if (!node->value_.is_boolean()) node->wanted("true or false");
    return node->value_.get<bool>();
  }
  void refuse_unless_empty(const std::string& name) const {
    const auto node = find(name);
    if (node && node->text() != "") node->fail("\"" + node->text() + "\" is not supported, only \"\"");
  }

 private:
  std::string shown() const {
    if (value_.is_structured())
      return std::string("an ") + value_.type_name();  // may be nested arbitrarily deep
    const std::string text = value_.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return text.size() <= 60 ? text : text.substr(0, 57) + "...";
  }

  const std::string& file_;
  std::string key_;
  const nlohmann::json& value_;
};

}  // namespace saslm
