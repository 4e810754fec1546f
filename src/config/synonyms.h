// The words that people bring from other trainers, and what they are called here.
#pragma once
#include <optional>
#include <span>
#include <string>

namespace saslm {

struct Synonym {
  const char* theirs;       // in snake case
  const char* ours;         // the key's whole path; "" when there is nothing of the kind here
  const char* remark = "";  // how the two differ, or what to do instead
};

std::span<const Synonym> synonyms();

// What `key`, found in the object at `block` ("" for the whole config), is here; a key of that very block
// before others.
std::optional<Synonym> synonym_of(const std::string& key, const std::string& block);

}  // namespace saslm
