// The tokenizer by which the text behind a token set is measured.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/token_set.h"
#include "data/tokenizer.h"

namespace saslm {

struct TextTokenizer {
  std::unique_ptr<const Tokenizer> tokenizer;  // null when it is not known, or not there
  std::string why_not;                         // and then why
};

// The first of `names` that can be read; empty ones are passed over. DataError when that one did not make the
// set.
TextTokenizer find_text_tokenizer(const TokenSet& set, const std::vector<std::string>& names);

// DataError when the set is known to be another tokenizer's, or holds a token that this one does not have.
void check_made_by(const TokenSet& set, const Tokenizer& tokenizer);

// DataError when the set holds a token that the tokenizer does not have.
void check_holds(const TokenSet& set, const Tokenizer& tokenizer);

}  // namespace saslm
