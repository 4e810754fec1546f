#include "data/token_set.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <map>

#include "core/error.h"
#include "core/glob_pattern.h"
#include "data/shard_info.h"

namespace saslm {

namespace {

std::vector<std::string> matches_of(const std::string& pattern) {
  std::vector<std::string> paths = paths_matching(pattern);
  if (paths.empty()) {
    throw DataError("no file matches " + pattern +
                    "; check data.train, data.val or --data (relative paths start at the config file)");
  }
  return paths;
}

// Error text: the given vocabulary is too small; wanted the tokenizer's, or the smallest with tokens 0 ..
// max_token.
std::string outside_vocabulary(const std::string& shard, const std::string& where, int64_t token,
                               int64_t vocab_size, int64_t max_token) {
  if (token < 0) return where + " is negative: the shard is damaged or does not contain token ids";
  const std::string info_path = info_path_of(shard);
  const auto info = info_path.empty() ? std::nullopt : read_shard_info(info_path);
  const std::string wanted = info && info->vocab_size > max_token
                                 ? std::to_string(info->vocab_size) + ", which its tokenizer has"
                                 : "at least " + std::to_string(max_token + 1);
  return where + " is outside the vocabulary 0 .. " + std::to_string(vocab_size - 1) +
         "; this data needs model.vocab_size of " + wanted;
}

constexpr const char* kRestore =
    "; one of the two was changed or comes from elsewhere: make the shards again, or move the .json away to "
    "ignore it";

// Checks that the .json beside a shard lists it, and that its tokens are in that vocabulary.
void check_described(const ShardInfo& info, const std::string& info_path, const ShardFile& shard,
                     int64_t max_token) {
  const std::string name = std::filesystem::path(shard.path()).filename().string();
  if (std::find(info.files.begin(), info.files.end(), name) == info.files.end())
    throw DataError(info_path + " does not list " + shard.path() + " among its " +
                    std::to_string(info.files.size()) + " files" + kRestore);
  if (max_token >= info.vocab_size)
    throw DataError(info_path + " says vocab_size " + std::to_string(info.vocab_size) + ", but " +
                    shard.path() + " contains the token " + std::to_string(max_token) + kRestore);
}

// Checks that the shards have the .json's number of tokens in total; at most, if some shards are elsewhere.
void check_total(const ShardInfo& info, const std::string& info_path, const std::vector<ShardFile>& shards) {
  const std::filesystem::path folder = std::filesystem::path(info_path).parent_path();
  std::map<std::string, int64_t> known;
  for (const ShardFile& shard : shards) known[shard.path()] = shard.n_tokens();
  int64_t tokens = 0;
  std::string missing;
  for (const std::string& name : info.files) {
    const std::string path = (folder / name).string();
    std::error_code unknown;
    if (const auto it = known.find(path); it != known.end()) {
      tokens += it->second;
    } else if (std::filesystem::exists(path, unknown)) {
      tokens += ShardFile(path).n_tokens();
    } else {
      missing = path;
    }
  }
  if (tokens == info.tokens || (!missing.empty() && tokens < info.tokens)) return;
  const std::string shards_named = info.files.size() == 1
                                       ? (folder / info.files.front()).string() + " has "
                                       : "its " + std::to_string(info.files.size()) + " shards (" +
                                             (folder / info.files.front()).string() + ", ...) have ";
  throw DataError(info_path + " says " + std::to_string(info.tokens) + " tokens, but " + shards_named +
                  std::to_string(tokens) + kRestore);
}

int64_t samples_of(const ShardFile& shard, int64_t seq_len) {
  return std::max<int64_t>(0, shard.n_tokens() - 1) / seq_len;
}

}  // namespace

TokenSet::TokenSet(const std::vector<std::string>& patterns, int64_t vocab_size, int64_t seq_len,
                   int64_t most_checked, const ScanShards& scan)
    : patterns_(patterns), vocab_size_(vocab_size), seq_len_(seq_len) {
  check(seq_len > 0, "a sample has at least one token");
  check(vocab_size > 0 && vocab_size <= int64_t(1) << 31, "token ids fit in an int32");
  open_shards(patterns);
  for (size_t s = 0; s < shards_.size(); ++s) {
    n_tokens_ += shards_[s].n_tokens();
    parts_[s].first_sample = n_samples();
    parts_[s].n_samples = samples_of(shards_[s], seq_len_);
    first_sample_.push_back(n_samples() + parts_[s].n_samples);
  }
  if (n_samples() == 0) throw DataError(too_short());
  check_tokens(most_checked, scan);
  read_infos();
}

void TokenSet::open_shards(const std::vector<std::string>& patterns) {
  const auto pool = std::make_shared<OpenFiles>();
  std::map<std::pair<uint64_t, uint64_t>, std::string> seen;
  for (size_t set = 0; set < patterns.size(); ++set) {
    for (const std::string& path : matches_of(patterns[set])) {
      const std::string journal = journal_path_of(path);
      std::error_code unknown;
      if (!journal.empty() && std::filesystem::exists(journal, unknown))
        throw DataError(path + ": its `saslm tokenize` is not finished (" + journal +
                        " is there); run that command again to finish it");
      shards_.emplace_back(path, pool);
      parts_.push_back({.set = set});
      const auto [first, is_new] = seen.insert({shards_.back().identity(), path});
      if (!is_new) {
        throw DataError(path + ": the same shard as " + first->second +
                        ", given twice; make the patterns match each shard once");
      }
    }
  }
}

std::string TokenSet::too_short() const {
  const std::string needs =
      "one sample of " + std::to_string(seq_len_) + " needs " + std::to_string(seq_len_ + 1) + " tokens";
  const std::string remedy = "add data or shorten the samples (train.seq_len, eval --seq-len)";
  if (shards_.empty()) return "the data is too short: there is no shard, and " + needs + "; " + remedy;
  const auto longest = std::max_element(shards_.begin(), shards_.end(), [](const auto& a, const auto& b) {
    return a.n_tokens() < b.n_tokens();
  });
  const std::string which =
      shards_.size() == 1 ? "" : ", the longest of " + std::to_string(shards_.size()) + " shards,";
  return "the data is too short: " + longest->path() + which + " has " + std::to_string(longest->n_tokens()) +
         " tokens, and " + needs + "; " + remedy;
}

std::vector<ShardScan> scan_alone(const std::vector<ShardFile>& shards, int64_t vocab_size) {
  std::vector<ShardScan> scans;
  for (const ShardFile& shard : shards) scans.push_back(shard.scan(vocab_size));
  return scans;
}

void TokenSet::check_tokens(int64_t most_checked, const ScanShards& scan_all) {
  const bool all = n_tokens_ <= most_checked;
  std::vector<ShardScan> scans;
  if (all) {
    scans = scan_all(shards_, vocab_size_);
    check(scans.size() == shards_.size(), "every shard is scanned");
  }
  std::vector<std::array<uint64_t, 3>> contents;  // per shard: number of tokens, hash
  std::string bad_shard, where;                   // of the first token outside the vocabulary
  int64_t bad_token = 0;
  for (size_t s = 0; s < shards_.size(); ++s) {
    const ShardFile& shard = shards_[s];
    const double share = double(shard.n_tokens()) / double(n_tokens_);
    const ShardScan scan =
        all ? scans[s] : shard.scan_sample(vocab_size_, int64_t(double(most_checked) * share));
    parts_[s].content = scan.hash;
    contents.push_back({uint64_t(shard.n_tokens()), scan.hash[0], scan.hash[1]});
    parts_[s].max_token = scan.max_token;
    max_token_ = std::max(max_token_, scan.max_token);
    if (scan.bad_offset && where.empty()) {
      bad_token = scan.bad_token;
      bad_shard = shard.path();
      where = shard.path() + ": token " + std::to_string(bad_token) + " at offset " +
              std::to_string(*scan.bad_offset);
    }
  }
  if (!where.empty())
    throw DataError(outside_vocabulary(bad_shard, where, bad_token, vocab_size_, max_token_));
  if (!all) return;
  const XXH128_hash_t hash = XXH3_128bits(contents.data(), contents.size() * sizeof contents[0]);
  std::array<char, 33> hex;
  std::snprintf(hex.data(), hex.size(), "%016" PRIx64 "%016" PRIx64, uint64_t(hash.high64),
                uint64_t(hash.low64));
  fingerprint_ = hex.data();
}

void TokenSet::read_infos() {
  std::map<std::string, std::optional<ShardInfo>> infos;  // many shards share one
  bool complete = true;
  std::string tokenizer, tokenizer_fingerprint, named_by;
  for (size_t s = 0; s < shards_.size(); ++s) {
    const ShardFile& shard = shards_[s];
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
    check_described(*info, path, shard, parts_[s].max_token);
    if (named_by.empty() || !info->fingerprint.empty())
      tokenizer = info->tokenizer, tokenizer_fingerprint = info->fingerprint, named_by = path;
  }
  for (const auto& [path, info] : infos)
    if (info) check_total(*info, path, shards_);
  some_tokenizer_ = tokenizer, some_fingerprint_ = tokenizer_fingerprint;
  if (!complete) return;
  tokenizer_ = tokenizer, tokenizer_fingerprint_ = tokenizer_fingerprint;
}

std::string TokenSet::description() const {
  std::string text = std::to_string(shards_.size()) + (shards_.size() == 1 ? " shard, " : " shards, ") +
                     std::to_string(n_tokens_) + " tokens, " + std::to_string(n_samples()) + " samples of " +
                     std::to_string(seq_len_);
  if (!tokenizer_.empty()) text += ", tokenizer " + tokenizer_;
  return text + ", fingerprint " + fingerprint_;
}

void TokenSet::read(int64_t sample, const TokenRow& into) const {
  const auto& [inputs, targets] = into;
  check(inputs.size == seq_len_ && targets.size == seq_len_, "a sample is read to a row of its length");
  check(sample >= 0 && sample < n_samples(), "a sample is read from within its set");
  const auto next = std::upper_bound(first_sample_.begin(), first_sample_.end(), sample);
  const ShardFile& shard = shards_[size_t(next - first_sample_.begin()) - 1];
  const int64_t first = (sample - *std::prev(next)) * seq_len_;
  shard.read(first, 1, inputs.data);
  shard.read(first + 1, seq_len_, targets.data);
  std::copy_n(targets.data, seq_len_ - 1, inputs.data + 1);
  // Tokens were checked when the shard was opened, but the file may have been changed since.
  uint32_t highest = uint32_t(inputs[0]);
  for (int64_t t = 0; t < seq_len_; ++t) highest = std::max(highest, uint32_t(targets[t]));
  if (int64_t(highest) >= vocab_size_) {
    throw IoError(shard.path() + ": a token of the sample at offset " + std::to_string(first) +
                  " lies outside the vocabulary now, though not when the shard was opened; the file was "
                  "changed while in use");
  }
}

int64_t count_samples(const std::vector<std::string>& patterns, int64_t seq_len) {
  int64_t n = 0;
  for (const std::string& pattern : patterns)
    for (const std::string& path : matches_of(pattern)) n += samples_of(ShardFile(path), seq_len);
  return n;
}

}  // namespace saslm
