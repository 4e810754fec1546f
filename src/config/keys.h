// Descriptions of config keys for users, read from the schema.
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace saslm {

struct ConfigKey {
  std::string path;                // "optim.lr"
  std::string help;                // what it is
  std::string type;                // "number from 0 to 1000", "one of auto, cpu, cuda", "block of keys"
  std::string default_value;       // as JSON; "" if there is none
  std::string conditions;          // "required", "required under kind sas; refused under kind mha"; often ""
  std::string on_resume;           // what a resumed run does with another value; "" for a block, as below
  std::string across_ranks;        // "must agree" or "may differ"
  std::vector<std::string> words;  // the allowed values, if they are few
  std::vector<std::string> children;  // paths of the keys within a block
};

// Every path, blocks before their keys, in the order of the schema.
std::vector<std::string> config_keys();

std::optional<ConfigKey> config_key(const std::string& path);

}  // namespace saslm
