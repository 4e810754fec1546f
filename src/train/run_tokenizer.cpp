#include "train/run_tokenizer.h"

#include "core/error.h"
#include "data/text_tokenizer.h"

namespace saslm {
namespace {

TokenizerOf of_data(const std::string& whose, const TokenSet& set) {
  return {whose, set.tokenizer(), set.tokenizer_fingerprint()};
}

// The shards that are known, where others are not.
TokenizerOf of_known_data(const std::string& whose, const TokenSet& set) {
  return {set.tokenizer().empty() ? "a part of " + whose : whose, set.tokenizer_of_some(),
          set.fingerprint_of_some()};
}

TokenizerOf of_copy(const std::string& whose, const TokenizerCopy& copy) {
  return {whose, copy.name, copy.fingerprint};
}

void check_vocabulary(const Config& config, const Tokenizer& tokenizer) {
  const int64_t words = tokenizer.vocab_size();
  if (words > config.model.vocab_size)
    throw DataError("the tokenizer " + tokenizer.name() + " has " + std::to_string(words) +
                    " tokens, model.vocab_size is " + std::to_string(config.model.vocab_size) +
                    ": text that needs the others could not be read; wanted model.vocab_size of at least " +
                    std::to_string(words));
}

// What the data, or the config, names; where it still is. Of a run that began before copies were kept
// (`resuming`), nothing that training itself does not need is refused.
RunTokenizer find_named(const Config& config, const TokenSet& train, bool resuming) {
  const bool by_config = !config.data.tokenizer.empty();
  const std::string name = by_config ? config.data.tokenizer : train.tokenizer();
  RunTokenizer found;
  found.copy = {train.tokenizer(), train.tokenizer_fingerprint(), {}};
  if (name.empty()) return found;
  const auto without = [&](const std::string& why) {
    found.warnings.push_back(why +
                             "; the run carries no copy of its tokenizer: generate and export will need "
                             "--tokenizer FILE. data.tokenizer may name its present place");
  };
  if (!by_config && !tokenizer_exists(name)) {
    without("the tokenizer " + name + ", which data.train was made with, is not there");
    return found;
  }
  try {
    TokenizerCopy copy = copy_tokenizer(name);
    require_same_tokenizer(of_known_data("data.train", train), of_copy(name + " now", copy),
                           "put back the file that it was, name its present place in data.tokenizer, or "
                           "tokenize the text again");
    found.tokenizer = make_tokenizer(copy);
    if (!resuming) check_vocabulary(config, *found.tokenizer), check_holds(train, *found.tokenizer);
    found.copy = std::move(copy);
  } catch (const DataError& error) {
    if (!resuming) throw;
    without(error.what());
  }
  return found;
}

}  // namespace

std::vector<std::string> check_tokenizer(const Config& config, const TokenSet& train,
                                         const std::optional<TokenSet>& val) {
  std::vector<std::string> notes;
  const auto compare = [&](const TokenizerOf& other, const std::string& advice) {
    require_same_tokenizer(of_known_data("data.train", train), other, advice);
    const std::string note = require_same_tokenizer(of_data("data.train", train), other, advice);
    if (!note.empty()) notes.push_back(note);
  };
  if (val) {
    const std::string advice = "tokenize both with the same one";
    require_same_tokenizer(of_known_data("data.train", train), of_known_data("data.val", *val), advice);
    compare(of_data("data.val", *val), advice);
  }
  const std::string name = tokenizer_name(config.data.tokenizer);
  // A run that was moved away from its tokenizer has a copy of it.
  if (name.empty() || (!train.tokenizer().empty() && !tokenizer_exists(name))) return notes;
  compare(of_copy("data.tokenizer", copy_tokenizer(name)),
          "put back the file that the data was made with, name it, or tokenize the text again");
  return notes;
}

RunTokenizer run_tokenizer(const Config& config, const TokenSet& train, const TokenizerCopy& carried,
                           const std::string& where) {
  if (!carried.known()) return find_named(config, train, !where.empty());
  const std::string advice =
      "give the run the data and the tokenizer that it began with, or start another run";
  require_same_tokenizer(of_copy(where, carried), of_known_data("data.train", train), advice);
  RunTokenizer run;
  run.copy = carried;
  const std::string& named =
      config.data.tokenizer.empty() && !carried.complete() ? carried.name : config.data.tokenizer;
  if (!named.empty() && tokenizer_exists(named)) {
    TokenizerCopy now = copy_tokenizer(named);
    require_same_tokenizer(of_copy(where, carried), of_copy("data.tokenizer", now), advice);
    if (!run.copy.complete()) run.copy.files = std::move(now.files);
  }
  if (run.copy.complete()) run.tokenizer = make_tokenizer(run.copy);
  return run;
}

}  // namespace saslm
