// Byte-pair encoding: added tokens, normalizer, pieces, merges.
//
// On UTF-8 text the ids are those of Hugging Face `tokenizers` (encode with add_special_tokens=False). A byte
// that is not part of a well-formed character ends the text before it and gets its own id; a new text starts
// after it, without an inserted space. So decoding gives back the exact bytes, except for what the tokenizer
// itself does not keep: NFC gives back the normal form; if tokens spell a space as ▁, a ▁ in the text comes
// back as a space; and a space at a place where SpacePrefix::piece or first inserts one is lost.
#pragma once
#include <optional>

#include "data/added_tokens.h"
#include "data/bpe_file.h"
#include "data/bpe_words.h"
#include "data/character_split.h"
#include "data/split.h"
#include "data/tokenizer.h"

namespace saslm {

class BpeTokenizer : public Tokenizer {
 public:
  // DataError with the file and the key, or the pattern.
  explicit BpeTokenizer(BpeFile file);

  std::string name() const override { return file_.path; }
  std::string fingerprint() const override { return file_.fingerprint; }
  int64_t vocab_size() const override { return int64_t(file_.words.size()); }  // the highest id + 1
  // <|endoftext|> if it exists; else the first of <|end_of_text|>, </s>, <eos>, <｜end▁of▁sentence｜> that
  // exists; else the only special added token; else DataError.
  int32_t boundary() const override;
  std::unique_ptr<Encoder> make_encoder() const override;
  // An unused id below vocab_size decodes to nothing. Inserted spaces are removed: the first, and those after
  // added tokens.
  std::string decode(std::span<const int32_t> ids) const override;
  std::string word(int32_t id) const override;
  bool keeps_text() const;  // whether decoding gives back exactly any bytes
  int64_t text_bytes(int32_t id) const override;
  int64_t text_bytes_after(int32_t before, int32_t id) const override;

 private:
  class BpeEncoder;

  std::optional<int32_t> find_boundary() const;
  const std::string& checked_word(int32_t id) const;  // DataError if there is no such id

  BpeFile file_;
  BpeWords words_;
  SplitPatterns patterns_;
  CharacterSplit characters_;
  AddedTokens added_;
  std::vector<bool> added_ids_;  // except those that represent bytes
  std::vector<bool> no_text_;    // per id: special, or the boundary
  std::optional<int32_t> boundary_;
};

}  // namespace saslm
