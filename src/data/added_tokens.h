// Added tokens, such as <|endoftext|>, which are matched in the raw text before it is split into pieces.
//
// Matching goes from left to right; at each place the longest token wins. Tokens that are not `normalized`
// are matched first, in the whole text; the others in the text between them.
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
    int32_t id;  // -1: no match; it is certain that none starts before `begin`
  };

  // The first match at or after `at`. If the text is `open`, more may follow it.
  Match find(std::string_view text, size_t at, bool open) const;

  // Match only tokens that are not normalized, or only the others: for a tokenizer that normalizes the text
  // between the first.
  Match find_raw(std::string_view text, size_t at, bool open) const;
  Match find_normalized(std::string_view text, size_t at, bool open) const;

 private:
  class Set {
   public:
    void add(const AddedToken& token);
    size_t longest() const { return lengths_.empty() ? 0 : lengths_.front(); }
    // The first match that starts in [at, limit).
    Match find(std::string_view text, size_t at, size_t limit) const;

   private:
    std::unordered_map<std::string, int32_t> ids_;
    std::vector<size_t> lengths_;           // lengths of tokens, longest first
    std::bitset<1 << 16> pairs_;            // the first two bytes of tokens
    std::bitset<1 << 8> singles_, firsts_;  // tokens of one byte; first bytes of all
  };

  Set first_, second_;
};

}  // namespace saslm
