// The tokenizer of a folder of transformers, for a folder of ours.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "config/config.h"

namespace saslm {

struct ImportedTokenizer {
  std::string name, fingerprint;  // as config.json says them: "bytes", a file in `out`, or "" for none
  std::map<std::string, std::string> files;  // name, bytes: as they are
  std::vector<std::string> notes;            // what a person should know
};

// One that saslm does not read is left out, with a note that says why: the model is of use without.
ImportedTokenizer import_tokenizer(const std::string& from, const std::string& out, const ModelConfig& model);

}  // namespace saslm
