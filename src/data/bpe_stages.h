// The stages of a tokenizer.json before byte-pair encoding: normalizer and pre-tokenizer.
//
//   normalizer      NFC; Prepend "▁" with Replace " " by "▁" (Llama 2)
//   pre-tokenizer   Split, Digits and, last, ByteLevel; or Metaspace (Mistral, Llama 2), or none at all
//
// If tokens spell a space as ▁, we store " " instead, in tokens and in text that a normalizer would give ▁,
// so text need not be rewritten.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/json_node.h"
#include "data/split.h"

namespace saslm {

// Where the tokenizer inserts a space before text.
enum class SpacePrefix {
  none,
  segment,  // before the text, and after each added token that is not normalized: Prepend
  piece,    // before the text, and after every added token, unless there is a space: Metaspace "always",
            // ByteLevel
  first     // only before the text, unless there is a space: Metaspace "first"
};

struct BpeStages {
  bool nfc = false;
  SpacePrefix prefix = SpacePrefix::none;
  std::vector<SplitStep> steps;
  bool characters = false;       // tokens consist of characters; false: of bytes (ByteLevel)
  bool spaces_marked = false;    // character BPE: a space is spelled ▁
  bool marks_replaced = false;   // by the normalizer, before normalized added tokens are matched
  bool split_at_spaces = false;  // a token never continues past a space (Metaspace with split)
};

constexpr char32_t kSpaceMarkCharacter = 0x2581;
constexpr const char* kSpaceMark = "\xe2\x96\x81";  // the same in UTF-8
constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string spaces_for_marks(std::string_view text);

// Reads the stages of a tokenizer.json. DataError with the file, the key and what is not supported.
BpeStages read_bpe_stages(const JsonNode& root);

}  // namespace saslm
