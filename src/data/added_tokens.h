// Tokens that are looked for in the raw text before it is cut into pieces: <|endoftext|> and the like.
//
// From left to right, at each place the longest. Those that are not `normalized` first, in the whole text;
// the others in what lies between these.
#pragma once
#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/bpe_file.h"

namespace saslm {

class AddedTokens {
 public:
  explicit AddedTokens(const std::vector<AddedToken>& tokens);

  struct Match {
    size_t begin, end;
    int32_t id;  // -1: none; then `begin` is how far it is certain that there is none
  };

  // The first at or after `at`. When the text is `open`, more may follow it.
  Match find(std::string_view text, size_t at, bool open) const;

  // Of those that are not normalized alone, and of the others alone: for a tokenizer that normalizes what
  // lies between the first.
  Match find_raw(std::string_view text, size_t at, bool open) const;
  Match find_normalized(std::string_view text, size_t at, bool open) const;

 private:
  class Set {
   public:
    void add(const AddedToken& token);
    size_t longest() const { return lengths_.empty() ? 0 : lengths_.front(); }
    // The first in `text` that begins at or after `at` and before `limit`.
    Match find(std::string_view text, size_t at, size_t limit) const;

   private:
    std::unordered_map<std::string, int32_t> ids_;
    std::vector<size_t> lengths_;           // that occur, longest first
    std::bitset<1 << 16> pairs_;            // the first two bytes of tokens
    std::bitset<1 << 8> singles_, firsts_;  // tokens of one byte; first bytes of all
  };

  Set first_, second_;
};

}  // namespace saslm
