// The config.json of a model of transformers, read so that nothing in it goes unseen: what a form does not
// take, nor anybody knows to be of no effect, is refused by name (check_rest). An absent key and null are the
// same. Errors   ConfigError names file, key, wanted and got.
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

  // A key that is asked for is taken. Without `otherwise` it must be there.
  int64_t size(const std::string& key, std::optional<int64_t> otherwise = {});
  double number(const std::string& key, double otherwise);
  bool flag(const std::string& key, bool otherwise);
  std::string word(const std::string& key, const std::string& otherwise);
  const nlohmann::json* find(const std::string& key);  // nullptr where there is none

  // The base of plain rotary positions, wherever this version of transformers keeps it; any scaling of them
  // is refused.
  double rope_base();

  // Refuses all that was not taken, but for what changes no logit.
  void check_rest();

  // "FILE: KEY: wanted WANTED, got GOT"
  [[noreturn]] void refuse(const std::string& key, const std::string& wanted) const;

 private:
  std::string path_;
  nlohmann::json whole_;
  std::set<std::string> taken_;
};

}  // namespace saslm
