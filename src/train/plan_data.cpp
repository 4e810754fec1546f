#include "train/plan_data.h"

#include "core/error.h"
#include "data/text_tokenizer.h"
#include "train/run_tokenizer.h"

namespace saslm {
namespace {

constexpr int64_t kMostChecked = int64_t(64)
                                 << 20;  // tokens of a set: a tenth of a second where they are cached

}  // namespace

PlanData look_at_data(const Config& config) {
  PlanData found;
  try {
    const int64_t vocab_size = config.model.vocab_size, seq_len = config.train.seq_len;
    const TokenSet train(config.data.train, vocab_size, seq_len, kMostChecked);
    std::optional<TokenSet> val;
    if (!config.data.val.empty()) val.emplace(config.data.val, vocab_size, seq_len, kMostChecked);
    found.notes = check_tokenizer(config, train, val);
    RunTokenizer run = run_tokenizer(config, train, {}, "");
    if (val && run.tokenizer) check_holds(*val, *run.tokenizer);
    found.notes.insert(found.notes.end(), run.warnings.begin(), run.warnings.end());
    for (const auto& [name, text] : run.copy.files) found.tokenizer_bytes += int64_t(text.size());
  } catch (const DataError& error) {
    found.problem = error.what();
  }
  return found;
}

}  // namespace saslm
