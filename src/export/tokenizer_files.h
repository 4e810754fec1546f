// A tokenizer as transformers reads it.
//
//   bytes                      tokenizer.json of 256 words without merges, ids being the bytes; NUL, which
//                              stands between documents, is its special token
//   tokenizer.json             the file itself, less what would put tokens around a text, cut it off or pad
//   it,
//                              which we never do; never with a byte order mark, which is refused when it is
//                              read
//   encoder.json + vocab.bpe   vocab.json + merges.txt
//
// and tokenizer_config.json, which names the token between documents, if there is one, as the end of a text
// and, as GPT-2 does, its beginning, and as what fills up the shorter texts of a batch, on their left, so
// that all end where generation goes on.
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
  std::optional<int32_t> end_of_text;        // an id that the model knows
  std::vector<std::string> notes, warnings;  // what a person should know; and do something about
};

// `tokenizer` is a name as make_tokenizer takes it.
// Errors   DataError where it is gone or cannot be read; ConfigError where it has tokens that the model does
// not.
TokenizerFiles tokenizer_files(const std::string& tokenizer, const ModelConfig& model);

// Whether that tokenizer.json is the one that is written for `bytes`.
bool is_byte_tokenizer(const std::string& text);

}  // namespace saslm
