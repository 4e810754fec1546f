// Byte-pair encoding: added tokens, then normalizing, then pieces, then merges.
//
// On UTF-8 text the ids are those of Hugging Face `tokenizers` (encode with add_special_tokens=False). A byte
// that belongs to no well-formed character ends the text before it, is its own id, and text begins anew after
// it, without a space that a tokenizer may put before text. So any bytes come back from their ids, but for
// what the tokenizer itself does not keep: with NFC the normal form comes back; where words spell a space as
// ▁, a ▁ of the text comes back as a space; and of a prefix that is put only where there is no space
// (SpacePrefix::piece and first), that space is lost.
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
  // DataError naming the file and the key. The patterns' errors name the pattern.
  explicit BpeTokenizer(BpeFile file);

  std::string name() const override { return file_.path; }
  std::string fingerprint() const override { return file_.fingerprint; }
  int64_t vocab_size() const override { return int64_t(file_.words.size()); }  // the highest id + 1
  // <|endoftext|> if there is one; else the first there is of <|end_of_text|>, </s>, <eos>,
  // <｜end▁of▁sentence｜>; else the only special added token; else DataError.
  int32_t boundary() const override;
  std::unique_ptr<Encoder> make_encoder() const override;
  // An id without a word, below vocab_size, stands for nothing. A space that was put before text is left out:
  // the first, and those behind added tokens.
  std::string decode(std::span<const int32_t> ids) const override;
  std::string word(int32_t id) const override;
  bool keeps_text() const;  // whether any bytes come back exactly as they were
  int64_t text_bytes(int32_t id) const override;
  int64_t text_bytes_after(int32_t before, int32_t id) const override;

 private:
  class BpeEncoder;

  std::optional<int32_t> find_boundary() const;
  const std::string& checked_word(int32_t id) const;  // DataError when there is no such id

  BpeFile file_;
  BpeWords words_;
  SplitPatterns patterns_;
  CharacterSplit characters_;
  AddedTokens added_;
  std::vector<bool> added_ids_;  // but for those that stand for bytes
  std::vector<bool> no_text_;    // per id: special, or the boundary
  std::optional<int32_t> boundary_;
};

}  // namespace saslm
