// The tokenizer of a run. Config, data and the resumed checkpoint may each name one, and must name the same.
// A new run copies its files; from then on they are in the checkpoints, so that moving, replacing or deleting
// the original changes nothing.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/token_set.h"
#include "data/tokenizer_copy.h"

namespace saslm {

// DataError if data.train, data.val and data.tokenizer do not belong to one tokenizer. Returns lines on what
// could not be compared.
std::vector<std::string> check_tokenizer(const Config& config, const TokenSet& train,
                                         const std::optional<TokenSet>& val);

struct RunTokenizer {
  TokenizerCopy copy;                    // unknown if nothing names a tokenizer
  std::unique_ptr<Tokenizer> tokenizer;  // null if the copy is incomplete
  std::vector<std::string> warnings;
};

// Finds the tokenizer. `carried` is the copy in the checkpoint `where`; unknown without a checkpoint and in
// older ones. DataError if it is not the data's or not what data.tokenizer names. DataError in a new run
// (`where` is
// "") also if data.tokenizer cannot be read, if the file that the data names has changed, or if the tokenizer
// has more tokens than the model.
RunTokenizer run_tokenizer(const Config& config, const TokenSet& train, const TokenizerCopy& carried,
                           const std::string& where);

}  // namespace saslm
