// What a tokenizer.json does to text before byte-pair encoding: its normalizer and its pre-tokenizer.
//
//   normalizer      NFC; Prepend "▁" with Replace " " by "▁" (Llama 2)
//   pre-tokenizer   Split, Digits and, last, ByteLevel; or Metaspace (Mistral, Llama 2), or none at all
//
// Where words spell a space as ▁, the stages here speak of the space itself: words, and text to which a
// normalizer has given ▁, hold " " for it. So text need not be rewritten.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/json_node.h"
#include "data/split.h"

namespace saslm {

// Where a space is put before text that the tokenizer is given.
enum class SpacePrefix {
  none,
  segment,  // before the text and what follows each added token that is not normalized: Prepend
  piece,    // the same after every added token, unless there is a space: Metaspace "always", ByteLevel
  first     // before the text alone, unless there is a space: Metaspace "first"
};

struct BpeStages {
  bool nfc = false;
  SpacePrefix prefix = SpacePrefix::none;
  std::vector<SplitStep> steps;
  bool characters = false;       // words are made of characters, or else of bytes (ByteLevel)
  bool spaces_marked = false;    // of characters: ▁ is how a space is spelled
  bool marks_replaced = false;   // by the normalizer: before normalized added tokens are looked for
  bool split_at_spaces = false;  // a word does not go on past a space (Metaspace with split)
};

constexpr char32_t kSpaceMarkCharacter = 0x2581;
constexpr const char* kSpaceMark = "\xe2\x96\x81";  // the same in UTF-8
constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string spaces_for_marks(std::string_view text);

// Of a whole tokenizer.json. DataError naming file, key and what is not supported there.
BpeStages read_bpe_stages(const JsonNode& root);

}  // namespace saslm
