// Places where character BPE can be cut: between two characters that are adjacent in no merge.
//
// A merge across such a place would make a token that contains both. So both sides can be encoded
// independently, and text that a tokenizer does not split (Llama 2: a whole document is one piece) still
// falls into pieces, which are looked up and merged one by one.
#pragma once
#include <bitset>
#include <cstdint>
#include <string_view>
#include <unordered_set>

#include "data/bpe_file.h"
#include "data/utf8.h"

namespace saslm {

class CharacterSplit {  // shared by all threads
 public:
  explicit CharacterSplit(const BpeFile& file);

  // Like PieceSplitter::split (split.h), with emit(std::string_view, bool).
  template <class Emit>
  size_t split(std::string_view text, bool open, size_t until, Emit&& emit) const {
    size_t begin = 0, at = 0;
    char32_t before = 0;
    while (at < text.size()) {
      const size_t place = at;
      const char32_t c = character(text, at);
      if (place > 0 && splits(before, c)) {
        emit(text.substr(begin, place - begin), true);
        begin = place;
        if (begin >= until) return begin;
      }
      before = c;
    }
    if (open || text.empty()) return begin;
    emit(text.substr(begin), true);
    return text.size();
  }

 private:
  // Returns the character at `at` and advances `at`; a ▁ that represents a space is one character.
  char32_t character(std::string_view text, size_t& at) const {
    const auto byte = uint8_t(text[at]);
    if (byte < 0x80) return ++at, byte;
    const char32_t c = next_character(text, at);
    return c == kSpaceMarkCharacter && spaces_marked_ ? U' ' : c;
  }

  bool splits(char32_t a, char32_t b) const {
    if (b == ' ' && at_spaces_) return true;
    if (only_at_spaces_) return false;
    if (a < 0x80 && b < 0x80) return !ascii_pairs_[a << 7 | b];
    return pairs_.count(uint64_t(a) << 32 | b) == 0;
  }

  bool spaces_marked_, at_spaces_, only_at_spaces_;
  std::bitset<1 << 14> ascii_pairs_;
  std::unordered_set<uint64_t> pairs_;
};

}  // namespace saslm
