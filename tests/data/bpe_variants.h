// Tokenizers for tests: scripts/make_tokenizer_fixtures.py's, and changed ones.
#pragma once
#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "data/bpe_tokenizer.h"
#include "tests/data/support.h"

namespace saslm::test {

using nlohmann::json;

inline const std::string kFixtures = SASLM_FIXTURES_DIR;

inline json read_json(const std::string& name) {
  return json::parse(read_bytes(kFixtures + "/" + name));
}

// base.json, or another file, with an RFC 7386 patch.
class Variant {
 public:
  explicit Variant(const json& patch = json::object(), const std::string& base = "base.json") {
    json whole = read_json(base);
    whole.merge_patch(patch);
    write_bytes(path(), whole.dump());
  }
  std::string path() const { return dir_ / "variant.json"; }

 private:
  OwnFolder dir_;
};

inline std::unique_ptr<Tokenizer> variant(const json& patch = json::object(),
                                          const std::string& base = "base.json") {
  return make_tokenizer(Variant(patch, base).path());
}

inline std::unique_ptr<Tokenizer> variant_of(const json& c) {  // of cases.json
  return variant(c["patch"], c["base"]);
}

inline json case_named(const std::string& name) {
  const json cases = read_json("cases.json");
  for (const json& c : cases["cases"])
    if (c["name"] == name) return c;
  throw std::out_of_range(name);
}

inline uint64_t random_below(uint64_t n, uint64_t& counter) {
  return uint64_t(uniform(stream_key(1, "bpe"), counter++) * double(n));
}

}  // namespace saslm::test
