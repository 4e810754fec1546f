// The tokenizer that measures the text of a token set, for bits per byte.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/token_set.h"
#include "data/tokenizer.h"

namespace saslm {

struct TextTokenizer {
  std::unique_ptr<const Tokenizer> tokenizer;  // null if unknown or missing
  std::string why_not;                         // then the reason
};

// The first of `names` that exists; empty ones are skipped. DataError if it did not make the set.
TextTokenizer find_text_tokenizer(const TokenSet& set, const std::vector<std::string>& names);

// DataError if another tokenizer is known to have made the set, or the set contains a token that this one
// lacks.
void check_made_by(const TokenSet& set, const Tokenizer& tokenizer);

// DataError if the set contains a token that the tokenizer lacks.
void check_holds(const TokenSet& set, const Tokenizer& tokenizer);

}  // namespace saslm
