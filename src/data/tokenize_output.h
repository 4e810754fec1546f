// The output of `saslm tokenize`: shards, their .json, and the journal that exists until they are complete.
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

int64_t total_bytes(const std::vector<std::string>& inputs);  // -1 if one of them is a pipe

// The wanted format, or the narrowest that fits the vocabulary; DataError if the wanted one does not.
ShardFormat format_for(int64_t vocab_size, std::optional<ShardFormat> wanted);

class TokenizeOutput {
 public:
  // `options.inputs` are files, not folders or patterns. DataError if output with this prefix exists.
  TokenizeOutput(const TokenizeOptions& options, ShardFormat format);

  ShardFormat format() const { return format_; }
  ShardWriter& writer() { return writer_; }

  // `job_of` makes the journal's first line from the inputs' sizes and times.
  TokenizeJournal open_journal(
      const std::function<nlohmann::ordered_json(const nlohmann::ordered_json&)>& job_of);

  // Runs `work`. If it throws a ContentError, or an input has changed, all files are removed.
  TokenizeState finish(TokenizeJournal& journal, const std::function<TokenizeState()>& work);

  // Gives the shards their final names, writes result.info (setting its `files`) if it names a tokenizer, and
  // removes the journal.
  void publish(TokenizeJournal& journal, TokenizeResult& result);

 private:
  const TokenizeOptions& options_;
  ShardFormat format_;
  std::string stem_;  // DIR/PREFIX
  ShardWriter writer_;
  nlohmann::ordered_json inputs_;  // as they were before `work`
};

}  // namespace saslm
