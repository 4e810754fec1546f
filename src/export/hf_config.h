// Reads the config.json of a transformers model without ignoring anything: keys that a form does not read,
// and that are not known to have no effect, are refused (check_rest). An absent key and null are the same.
//
// Throws ConfigError with file, key, wanted and got.
#pragma once
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>

namespace saslm {

class HfConfig {
 public:
  explicit HfConfig(const std::string& folder);
  HfConfig(std::string path, nlohmann::json whole) : path_(std::move(path)), whole_(std::move(whole)) {}

  const std::string& path() const { return path_; }

  // Reads a key and marks it as read. Without `otherwise` the key is required.
  int64_t size(const std::string& key, std::optional<int64_t> otherwise = {});
  double number(const std::string& key, double otherwise);
  bool flag(const std::string& key, bool otherwise);
  std::string word(const std::string& key, const std::string& otherwise);
  const nlohmann::json* find(const std::string& key);  // nullptr if absent

  // The base of rotary positions, wherever this version of transformers stores it; scaled rotary positions
  // are refused.
  double rope_base();

  // Refuses all keys that were not read, except those that do not change logits.
  void check_rest();

  // "FILE: KEY: wanted WANTED, got GOT"
  [[noreturn]] void refuse(const std::string& key, const std::string& wanted) const;

 private:
  std::string path_;
  nlohmann::json whole_;
  std::set<std::string> taken_;
};

}  // namespace saslm
