#include "data/token_set.h"

#include <glob.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <map>

#include "core/error.h"
#include "data/shard_info.h"

namespace saslm {

namespace {

std::vector<std::string> matches_of(const std::string& pattern) {
  std::error_code unknown;
  if (std::filesystem::exists(pattern, unknown))
    return {pattern};  // brackets in a name are then not a pattern
  glob_t found = {};
  const int result = ::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found);
  std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (result == GLOB_NOSPACE) throw IoError("glob " + pattern + ": out of memory");
  if (paths.empty()) {
    throw DataError("no file matches " + pattern +
                    "; check data.train, data.val or --data (relative paths start at the config file)");
  }
  std::sort(paths.begin(), paths.end());  // glob would sort by locale
  return paths;
}

// The vocabulary that the shard's tokenizer has, or else the least that holds tokens 0 .. max_token, and why
// the given one does not.
std::string outside_vocabulary(const std::string& shard, const std::string& where, int64_t token,
                               int64_t vocab_size, int64_t max_token) {
  if (token < 0) return where + " is negative: the shard is damaged or holds no token ids";
  const std::string info_path = info_path_of(shard);
  const auto info = info_path.empty() ? std::nullopt : read_shard_info(info_path);
  const std::string wanted = info && info->vocab_size > max_token
                                 ? std::to_string(info->vocab_size) + ", which its tokenizer has"
                                 : "at least " + std::to_string(max_token + 1);
  return where + " is outside the vocabulary 0 .. " + std::to_string(vocab_size - 1) +
         "; this data needs model.vocab_size of " + wanted;
}

}  // namespace

TokenSet::TokenSet(const std::vector<std::string>& patterns, int64_t vocab_size, int64_t seq_len,
                   int64_t most_checked)
    : vocab_size_(vocab_size), seq_len_(seq_len) {
  check(seq_len > 0, "a sample has at least one token");
  check(vocab_size > 0 && vocab_size <= int64_t(1) << 31, "token ids fit in an int32");
  std::map<std::pair<uint64_t, uint64_t>, std::string> seen;
  for (const std::string& pattern : patterns) {
    for (const std::string& path : matches_of(pattern)) {
      const std::string journal = journal_path_of(path);
      std::error_code unknown;
      if (!journal.empty() && std::filesystem::exists(journal, unknown))
        throw DataError(path + ": its `saslm tokenize` is not finished (" + journal +
                        " is there); run that command again to finish it");
      shards_.emplace_back(path);
      const auto [first, is_new] = seen.insert({shards_.back().identity(), path});
      if (!is_new) {
        throw DataError(path + ": the same tokens as " + first->second +
                        ", given twice; make the patterns match each shard once");
      }
    }
  }
  int64_t longest = 0;
  for (const ShardFile& shard : shards_) {
    n_tokens_ += shard.n_tokens();
    longest = std::max(longest, shard.n_tokens());
    first_sample_.push_back(n_samples() + std::max<int64_t>(0, shard.n_tokens() - 1) / seq_len_);
  }
  if (n_samples() == 0) {
    throw DataError("the data is too short: the longest of " + std::to_string(shards_.size()) +
                    " shards has " + std::to_string(longest) + " tokens, and one sample of " +
                    std::to_string(seq_len_) + " needs " + std::to_string(seq_len_ + 1) +
                    "; add data or shorten the samples (train.seq_len, eval --seq-len)");
  }
  check_tokens(most_checked);
  read_infos();
}

void TokenSet::check_tokens(int64_t most_checked) {
  const bool all = n_tokens_ <= most_checked;
  std::vector<std::array<uint64_t, 3>> contents;  // per shard: number of tokens, hash
  std::string bad_shard, where;                   // of the first token outside the vocabulary
  int64_t bad_token = 0, max_token = 0;
  for (const ShardFile& shard : shards_) {
    const auto share = int64_t(double(most_checked) / double(n_tokens_) * double(shard.n_tokens()));
    const ShardScan scan = all ? shard.scan(vocab_size_) : shard.scan_sample(vocab_size_, share);
    contents.push_back({uint64_t(shard.n_tokens()), scan.hash[0], scan.hash[1]});
    max_token = std::max(max_token, scan.max_token);
    if (scan.bad_offset && where.empty()) {
      bad_token = scan.bad_token;
      bad_shard = shard.path();
      where = shard.path() + ": token " + std::to_string(bad_token) + " at offset " +
              std::to_string(*scan.bad_offset);
    }
  }
  if (!where.empty())
    throw DataError(outside_vocabulary(bad_shard, where, bad_token, vocab_size_, max_token));
  if (!all) return;
  const XXH128_hash_t hash = XXH3_128bits(contents.data(), contents.size() * sizeof contents[0]);
  std::array<char, 33> hex;
  std::snprintf(hex.data(), hex.size(), "%016" PRIx64 "%016" PRIx64, uint64_t(hash.high64),
                uint64_t(hash.low64));
  fingerprint_ = hex.data();
}

void TokenSet::read_infos() {
  std::map<std::string, std::optional<ShardInfo>> infos;  // many shards share one
  double bytes = 0;
  bool complete = true;
  std::string tokenizer, tokenizer_fingerprint, named_by;
  for (const ShardFile& shard : shards_) {
    const std::string path = info_path_of(shard.path());
    if (!infos.contains(path)) infos[path] = path.empty() ? std::nullopt : read_shard_info(path);
    const std::optional<ShardInfo>& info = infos[path];
    if (!info) {
      complete = false;
      continue;
    }
    if (!named_by.empty() &&
        !same_tokenizer(info->tokenizer, info->fingerprint, tokenizer, tokenizer_fingerprint)) {
      throw DataError(path + ": tokenizer \"" + info->tokenizer + "\", but " + named_by + " says \"" +
                      tokenizer + "\"; one data set needs one tokenizer");
    }
    tokenizer = info->tokenizer, tokenizer_fingerprint = info->fingerprint, named_by = path;
    bytes += double(info->bytes) / double(info->tokens) * double(shard.n_tokens());
  }
  if (!complete) return;
  tokenizer_ = tokenizer, tokenizer_fingerprint_ = tokenizer_fingerprint;
  bytes_per_token_ = bytes / double(n_tokens_);
}

std::string TokenSet::description() const {
  std::string text = std::to_string(shards_.size()) + (shards_.size() == 1 ? " shard, " : " shards, ") +
                     std::to_string(n_tokens_) + " tokens, " + std::to_string(n_samples()) + " samples of " +
                     std::to_string(seq_len_);
  if (!tokenizer_.empty()) text += ", tokenizer " + tokenizer_;
  return text + ", fingerprint " + fingerprint_;
}

void TokenSet::read(int64_t sample, int32_t* inputs, int32_t* targets) const {
  check(sample >= 0 && sample < n_samples(), "a sample is read from within its set");
  const auto next = std::upper_bound(first_sample_.begin(), first_sample_.end(), sample);
  const ShardFile& shard = shards_[size_t(next - first_sample_.begin()) - 1];
  const int64_t first = (sample - *std::prev(next)) * seq_len_;
  shard.read(first, 1, inputs);
  shard.read(first + 1, seq_len_, targets);
  std::copy_n(targets, seq_len_ - 1, inputs + 1);
  // Checked when opened; checked again because the file may have been written to since.
  uint32_t highest = uint32_t(inputs[0]);
  for (int64_t t = 0; t < seq_len_; ++t) highest = std::max(highest, uint32_t(targets[t]));
  if (int64_t(highest) >= vocab_size_) {
    throw IoError(
        shard.path() + ": a token of the sample at offset " + std::to_string(first) +
        " lies outside the vocabulary now, though not when the shard was opened; it was changed in use");
  }
}

}  // namespace saslm
