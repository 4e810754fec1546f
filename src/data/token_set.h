// All shards of one data set as a numbered list of samples.
//
// A shard of n tokens holds floor((n-1)/T) samples; sample i of it has inputs tokens[i*T .. i*T+T-1] and
// targets tokens[i*T+1 .. i*T+T]. Samples never cross shards; a tail shorter than T+1 is dropped.
// Samples are numbered through the shards in the order of the patterns, sorted bytewise within a pattern.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "data/shard_file.h"

namespace saslm {

class TokenSet {
 public:
  // Reads every shard once, completely, before returning: header, size, and every token < vocab_size. With
  // more than `most_checked` tokens in all, only that many of them, in stretches spread evenly over the
  // shards; fingerprint() is then "".
  // Patterns are those of glob(7); a path that exists is taken as it is.
  // DataError, naming pattern, file and offset: a pattern without match, a file given twice, a damaged
  // shard, a token outside the vocabulary, shards of different tokenizers, fewer than one sample.
  TokenSet(const std::vector<std::string>& patterns, int64_t vocab_size, int64_t seq_len,
           int64_t most_checked = std::numeric_limits<int64_t>::max());

  int64_t n_samples() const { return first_sample_.back(); }
  int64_t n_tokens() const { return n_tokens_; }
  int64_t seq_len() const { return seq_len_; }
  const std::string& fingerprint() const {
    return fingerprint_;
  }                                                            // 32 hex digits, of tokens and shard lengths
  const std::string& tokenizer() const { return tokenizer_; }  // empty unless every shard's .json says it
  const std::string& tokenizer_fingerprint() const {
    return tokenizer_fingerprint_;
  }                                                                           // same; "" if not known
  std::optional<double> bytes_per_token() const { return bytes_per_token_; }  // same condition
  std::string description() const;                                            // one line for logs

  // inputs[0..T-1] and targets[0..T-1] are set (=). Any thread; nothing is allocated. IoError naming the
  // shard when it changed since it was opened: no other token than those checked is ever returned
  // outside the vocabulary.
  void read(int64_t sample, int32_t* inputs, int32_t* targets) const;

 private:
  void check_tokens(int64_t most_checked);
  void read_infos();

  int64_t vocab_size_, seq_len_;
  std::vector<ShardFile> shards_;
  std::vector<int64_t> first_sample_ = {0};  // of each shard, and last the number of samples
  int64_t n_tokens_ = 0;
  std::string fingerprint_, tokenizer_, tokenizer_fingerprint_;
  std::optional<double> bytes_per_token_;
};

}  // namespace saslm
