// All shards of one data set as a numbered list of samples.
//
// A shard of n tokens has floor((n-1)/T) samples; sample i of it has inputs tokens[i*T .. i*T+T-1] and
// targets tokens[i*T+1 .. i*T+T]. Samples never cross shards; a tail shorter than T+1 is dropped. Samples are
// numbered through the shards in the order of the patterns, sorted bytewise within a pattern.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/token_batch.h"
#include "data/shard_file.h"

namespace saslm {

// One shard's range of samples.
struct ShardPart {
  size_t set = 0;  // which pattern it came from
  int64_t first_sample = 0, n_samples = 0;
  int64_t max_token = 0;
  std::array<uint64_t, 2> content = {};  // hash of its tokens
};

// Scans all shards: what was found of each, in their order. Ranks divide it among them (train/shared_scan.h).
using ScanShards =
    std::function<std::vector<ShardScan>(const std::vector<ShardFile>& shards, int64_t vocab_size)>;
std::vector<ShardScan> scan_alone(const std::vector<ShardFile>& shards, int64_t vocab_size);

class TokenSet {
 public:
  // Reads and checks every shard completely: header, size, and every token < vocab_size (or has `scan` read
  // the tokens). If there are more than `most_checked` tokens, only that many, in ranges spread evenly over
  // the shards; fingerprint() is then "". Patterns: core/glob_pattern.h; an existing path is taken literally.
  // There may be more shards than open files allowed: least recently used shards are closed and reopened.
  // DataError, with pattern, file and offset: a pattern without match, a file given twice, a damaged shard, a
  // token outside the vocabulary, shards of different tokenizers, a .json that does not describe the shards
  // beside it, fewer than one sample.
  TokenSet(const std::vector<std::string>& patterns, int64_t vocab_size, int64_t seq_len,
           int64_t most_checked = std::numeric_limits<int64_t>::max(), const ScanShards& scan = scan_alone);

  int64_t n_samples() const { return first_sample_.back(); }
  int64_t n_tokens() const { return n_tokens_; }
  int64_t max_token() const { return max_token_; }
  int64_t seq_len() const { return seq_len_; }
  const std::vector<std::string>& patterns() const { return patterns_; }  // as given
  const std::vector<ShardPart>& shards() const { return parts_; }         // in the order of the samples
  // 32 hex digits, of tokens and shard lengths.
  const std::string& fingerprint() const { return fingerprint_; }
  // Empty unless every shard's .json names it.
  const std::string& tokenizer() const { return tokenizer_; }
  const std::string& tokenizer_fingerprint() const { return tokenizer_fingerprint_; }
  // From the shards that have a .json, even if others have none; "" if no .json names it.
  const std::string& tokenizer_of_some() const { return some_tokenizer_; }
  const std::string& fingerprint_of_some() const { return some_fingerprint_; }
  std::string description() const;  // one line for logs

  // Sets (=) a row of seq_len() positions to the sample. Thread-safe; allocates nothing while the shard is
  // open. IoError with the shard's name if it changed since it was first opened, so a token outside the
  // vocabulary is never returned.
  void read(int64_t sample, const TokenRow& into) const;

 private:
  void open_shards(const std::vector<std::string>& patterns);
  std::string too_short() const;  // for the message
  void check_tokens(int64_t most_checked, const ScanShards& scan);
  void read_infos();

  std::vector<std::string> patterns_;
  int64_t vocab_size_, seq_len_;
  std::vector<ShardFile> shards_;
  std::vector<ShardPart> parts_;             // of each shard
  std::vector<int64_t> first_sample_ = {0};  // of each shard, then the number of samples
  int64_t n_tokens_ = 0, max_token_ = 0;
  std::string fingerprint_, tokenizer_, tokenizer_fingerprint_, some_tokenizer_, some_fingerprint_;
};

// TokenSet::n_samples(), from the shards' headers only. Errors as TokenSet's.
int64_t count_samples(const std::vector<std::string>& patterns, int64_t seq_len);

}  // namespace saslm
