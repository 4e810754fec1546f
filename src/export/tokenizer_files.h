// Writes a tokenizer for transformers.
//
//   bytes                      tokenizer.json with 256 tokens, ids being the bytes, and no merges; NUL, which
//                              separates documents, is its special token
//   tokenizer.json             the file without the parts that add tokens around a text, truncate or pad it,
//                              which saslm never does
//   encoder.json + vocab.bpe   vocab.json + merges.txt
//
// and tokenizer_config.json, which declares the token between documents, if there is one, as end of text, as
// start of text (like GPT-2), and as padding. Padding is on the left, so that all texts of a batch end where
// generation continues.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"

namespace saslm {

struct TokenizerFiles {
  std::map<std::string, std::string> files;  // name, text
  std::string loaded_by;                     // the class
  std::optional<int32_t> end_of_text;        // an id within the model's vocabulary
  std::vector<std::string> notes, warnings;  // for the user; warnings need action
};

// `tokenizer` as for make_tokenizer.
// Throws DataError if it is missing or unreadable, ConfigError if it has more tokens than the model.
TokenizerFiles tokenizer_files(const std::string& tokenizer, const ModelConfig& model);

// Whether a tokenizer.json is the one written for `bytes`.
bool is_byte_tokenizer(const std::string& text);

}  // namespace saslm
