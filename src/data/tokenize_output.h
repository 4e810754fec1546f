// The output of `saslm tokenize`, whatever it is made of: shards, their .json, and the journal that lies
// beside them until they are whole.
#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/shard_writer.h"
#include "data/tokenize.h"
#include "data/tokenize_journal.h"

namespace saslm {

int64_t total_bytes(const std::vector<std::string>& inputs);  // -1 when one of them is a pipe

// The narrowest format that holds the vocabulary, or the wanted one; DataError when that cannot.
ShardFormat format_for(int64_t vocab_size, std::optional<ShardFormat> wanted);

class TokenizeOutput {
 public:
  // `options.inputs` are the files themselves. DataError when something of this prefix is there already.
  TokenizeOutput(const TokenizeOptions& options, ShardFormat format);

  ShardFormat format() const { return format_; }
  ShardWriter& writer() { return writer_; }

  // `job_of` makes the journal's first line from what the inputs look like.
  TokenizeJournal open_journal(
      const std::function<nlohmann::ordered_json(const nlohmann::ordered_json&)>& job_of);

  // Runs `work`. When it ends by a ContentError, or an input is no longer as it was, nothing is left.
  TokenizeState finish(TokenizeJournal& journal, const std::function<TokenizeState()>& work);

  // Gives the shards their names, writes result.info (its `files` are set here) unless it names no tokenizer,
  // and removes the journal.
  void publish(TokenizeJournal& journal, TokenizeResult& result);

 private:
  const TokenizeOptions& options_;
  ShardFormat format_;
  std::string stem_;  // DIR/PREFIX
  ShardWriter writer_;
  nlohmann::ordered_json inputs_;  // as they were before the work
};

}  // namespace saslm
