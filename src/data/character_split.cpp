#include "data/character_split.h"

namespace saslm {

// With ignore_merges a piece is looked up before merging, and a part of it could be a token, so it must not
// be split.
CharacterSplit::CharacterSplit(const BpeFile& file)
    : spaces_marked_(file.stages.spaces_marked),
      at_spaces_(file.stages.split_at_spaces),
      only_at_spaces_(file.ignore_merges) {
  if (!file.stages.characters) return;
  for (const BpeMerge& merge : file.merges) {
    const std::string& word = file.words[size_t(merge.merged)];
    char32_t before = 0;
    for (size_t at = 0; at < word.size();) {
      const bool first = at == 0;
      const char32_t c = character(word, at);
      if (!first && before < 0x80 && c < 0x80) {
        ascii_pairs_.set(before << 7 | c);
      } else if (!first) {
        pairs_.insert(uint64_t(before) << 32 | c);
      }
      before = c;
    }
  }
}

}  // namespace saslm
