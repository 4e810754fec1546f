// Key names of other trainers and their names in saslm.
#pragma once
#include <optional>
#include <span>
#include <string>

namespace saslm {

struct Synonym {
  const char* theirs;       // in snake case
  const char* ours;         // the full path; "" if saslm has nothing like it
  const char* remark = "";  // how the two differ, or what to do instead
};

std::span<const Synonym> synonyms();

// The meaning of `key` in the object at `block` ("": the whole config); prefers keys of that block.
std::optional<Synonym> synonym_of(const std::string& key, const std::string& block);

}  // namespace saslm
