// Byte-level byte-pair encoding: added tokens, then pieces, then merges.
//
// On UTF-8 text the ids are those of Hugging Face `tokenizers` (encode with add_special_tokens=False). A byte
// that belongs to no well-formed character ends the text before it, is its own id, and text begins anew after
// it: so any bytes come back from their ids.
#pragma once
#include <optional>

#include "data/added_tokens.h"
#include "data/bpe_file.h"
#include "data/bpe_words.h"
#include "data/split.h"
#include "data/tokenizer.h"

namespace saslm {

class BpeTokenizer : public Tokenizer {
 public:
  // DataError naming the file and the key. The patterns' errors name the pattern.
  explicit BpeTokenizer(BpeFile file);

  std::string name() const override { return file_.path; }
  std::string fingerprint() const override { return file_.fingerprint; }
  int64_t vocab_size() const override { return int64_t(file_.words.size()); }  // the highest id + 1
  // <|endoftext|> if there is one; else the first there is of <|end_of_text|>, </s>, <eos>,
  // <｜end▁of▁sentence｜>; else the only special added token; else DataError.
  int32_t boundary() const override;
  std::unique_ptr<Encoder> make_encoder() const override;
  // An id without a word, below vocab_size, stands for nothing.
  std::string decode(std::span<const int32_t> ids) const override;
  int64_t text_bytes(int32_t id) const override;

 private:
  class BpeEncoder;

  std::optional<int32_t> find_boundary() const;
  const std::string& word(int32_t id) const;  // DataError when there is no such id

  BpeFile file_;
  BpeWords words_;
  SplitPatterns patterns_;
  AddedTokens added_;
  std::vector<bool> no_text_;  // per id: special, or the boundary
};

}  // namespace saslm
