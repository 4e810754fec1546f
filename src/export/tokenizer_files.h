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
// and, as GPT-2 does, its beginning.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"

namespace saslm {

struct TokenizerFiles {
  std::map<std::string, std::string> files;  // name, text; none where there is no tokenizer to be had
  std::string loaded_by;                     // the class; "" likewise
  std::optional<int32_t> end_of_text;        // an id that the model knows
  std::vector<std::string> notes;            // what a person should know
};

// `tokenizer` is a name as make_tokenizer takes it, or "". One that is gone or cannot be read is a note.
TokenizerFiles tokenizer_files(const std::string& tokenizer, const ModelConfig& model);

}  // namespace saslm
