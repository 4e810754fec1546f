// Imports the tokenizer of a transformers folder.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "config/config.h"

namespace saslm {

struct ImportedTokenizer {
  std::string name, fingerprint;  // as in our config.json: "bytes", a file in `out`, or "" for none
  std::map<std::string, std::string> files;  // name, content: unchanged
  std::vector<std::string> notes;            // for the user
};

// An unsupported tokenizer is omitted, with a note that says why: the model is useful without it.
ImportedTokenizer import_tokenizer(const std::string& from, const std::string& out, const ModelConfig& model);

}  // namespace saslm
