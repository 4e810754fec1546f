#include "data/text_tokenizer.h"

#include "core/error.h"
#include "data/shard_info.h"

namespace saslm {

TextTokenizer find_text_tokenizer(const TokenSet& set, const std::vector<std::string>& names) {
  TextTokenizer found;
  for (const std::string& name : names) {
    if (name.empty()) continue;
    try {
      found.tokenizer = make_tokenizer(name);
    } catch (const Error& error) {
      if (found.why_not.empty()) found.why_not = error.what();
      continue;
    }
    check_made_by(set, *found.tokenizer);
    found.why_not.clear();
    return found;
  }
  if (found.why_not.empty())
    found.why_not = "the tokenizer is unknown: not every shard has a .json, and data.tokenizer is not set";
  return found;
}

void check_made_by(const TokenSet& set, const Tokenizer& tokenizer) {
  const std::string &made_by = set.tokenizer_of_some(), &fingerprint = set.fingerprint_of_some();
  if (!made_by.empty() && !same_tokenizer(tokenizer.name(), tokenizer.fingerprint(), made_by, fingerprint))
    throw DataError("the tokenizer " + tokenizer.name() + " is not the one that made the data, " + made_by +
                    (fingerprint.empty()
                         ? ""
                         : " (fingerprint " + fingerprint + ", given " + tokenizer.fingerprint() + ")") +
                    ", so it cannot count the bytes of the text; give the one that made the data, or "
                    "tokenize the text again");
  check_holds(set, tokenizer);
}

void check_holds(const TokenSet& set, const Tokenizer& tokenizer) {
  if (set.max_token() >= tokenizer.vocab_size())
    throw DataError("the data contains the token " + std::to_string(set.max_token()) +
                    ", which the tokenizer " + tokenizer.name() + " lacks (its tokens are 0 .. " +
                    std::to_string(tokenizer.vocab_size() - 1) + "); give the one that made the data");
}

}  // namespace saslm
