// Which tokenizer a run has: named by its config, by its data and by the checkpoint that it goes on from, all
// of which must mean the same one. The first start takes its bytes; from then on the checkpoints have them,
// so that a file that is moved, replaced or deleted changes nothing.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/token_set.h"
#include "data/tokenizer_copy.h"

namespace saslm {

// Tokens of a vocabulary mean something only to the tokenizer that made them: DataError when data.train,
// data.val and data.tokenizer do not belong to one. Returns what could not be compared.
std::vector<std::string> check_tokenizer(const Config& config, const TokenSet& train,
                                         const std::optional<TokenSet>& val);

struct RunTokenizer {
  TokenizerCopy copy;                    // not known where nothing says which it is
  std::unique_ptr<Tokenizer> tokenizer;  // null where the copy is not complete
  std::vector<std::string> warnings;
};

// `carried` by the checkpoint `where`; not known, where there is no checkpoint or it is from before this was
// kept. DataError when it is not the data's, or not what data.tokenizer names. At the first start ("" for
// `where`), too, when data.tokenizer cannot be read, when the file that the data names is not what it was, or
// when the model has fewer tokens than the tokenizer.
RunTokenizer run_tokenizer(const Config& config, const TokenSet& train, const TokenizerCopy& carried,
                           const std::string& where);

}  // namespace saslm
