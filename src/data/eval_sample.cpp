#include "data/eval_sample.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "core/error.h"
#include "core/rng.h"

namespace saslm {
namespace {

using Key = std::array<uint64_t, 2>;

// Floor of n * k / parts, for k <= parts < 2^31, without overflow.
int64_t boundary(int64_t n, int64_t k, int64_t parts) {
  return n / parts * k + n % parts * k / parts;
}

// Adds one sample from each of `count` ranges of a shard; all samples if `count` is n.
void add_spread(const ShardPart& shard, int64_t count, std::vector<int64_t>& samples) {
  const uint64_t key = stream_key(shard.content[0] ^ shard.content[1], "evaluation sample");
  for (int64_t k = 0; k < count; ++k) {
    const int64_t begin = boundary(shard.n_samples, k, count);
    const int64_t length = boundary(shard.n_samples, k + 1, count) - begin;
    const auto offset = int64_t(uniform(key, uint64_t(k)) * double(length));
    samples.push_back(shard.first_sample + begin + std::min(offset, length - 1));
  }
}

// The number of samples per shard.
std::vector<int64_t> quotas(const std::vector<ShardPart>& shards, size_t n_sets, int64_t total) {
  std::vector<int64_t> sizes;
  std::vector<Key> keys;
  for (const ShardPart& shard : shards) sizes.push_back(shard.n_samples), keys.push_back(shard.content);
  const auto filled = std::count_if(sizes.begin(), sizes.end(), [](int64_t n) { return n > 0; });
  if (total >= filled) return apportion(total, sizes, keys);

  std::vector<int64_t> of_sets(n_sets, 0);
  std::vector<Key> set_keys(n_sets, Key{~uint64_t(0), ~uint64_t(0)});
  for (const ShardPart& shard : shards) {
    of_sets[shard.set] += shard.n_samples;
    set_keys[shard.set] = std::min(set_keys[shard.set], shard.content);
  }
  const std::vector<int64_t> set_quotas = apportion(total, of_sets, set_keys);
  std::vector<int64_t> result(shards.size(), 0);
  for (size_t set = 0; set < n_sets; ++set) {
    std::vector<int64_t> within = sizes;
    for (size_t s = 0; s < shards.size(); ++s)
      if (shards[s].set != set) within[s] = 0;
    const std::vector<int64_t> part = apportion(set_quotas[set], within, keys);
    for (size_t s = 0; s < shards.size(); ++s) result[s] += part[s];
  }
  return result;
}

std::string fingerprint_of(const std::vector<ShardPart>& shards, const std::vector<size_t>& order,
                           const std::vector<int64_t>& quota, int64_t seq_len) {
  std::vector<uint64_t> read = {uint64_t(seq_len)};
  for (const size_t s : order)
    read.insert(read.end(), {shards[s].content[0], shards[s].content[1], uint64_t(quota[s])});
  const XXH128_hash_t hash = XXH3_128bits(read.data(), read.size() * sizeof read[0]);
  std::array<char, 33> hex;
  std::snprintf(hex.data(), hex.size(), "%016" PRIx64 "%016" PRIx64, uint64_t(hash.high64),
                uint64_t(hash.low64));
  return hex.data();
}

}  // namespace

std::vector<int64_t> apportion(int64_t total, const std::vector<int64_t>& sizes,
                               const std::vector<Key>& keys) {
  check(sizes.size() == keys.size(), "every heap has a key");
  const int64_t sum = std::accumulate(sizes.begin(), sizes.end(), int64_t(0));
  if (total >= sum) return sizes;
  const auto filled = std::count_if(sizes.begin(), sizes.end(), [](int64_t n) { return n > 0; });
  const int64_t least = total >= filled ? 1 : 0;
  std::vector<int64_t> quota(sizes.size(), 0);
  std::vector<double> exact(sizes.size(), 0);
  int64_t left = total;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) continue;
    exact[i] = double(total) * double(sizes[i]) / double(sum);
    quota[i] = std::clamp(int64_t(exact[i]), least, sizes[i]);
    left -= quota[i];
  }
  // Adds or removes one at a time at the group furthest from its exact share; there are few, since floors
  // lose less than one each.
  const auto furthest = [&](int sign) {
    size_t best = sizes.size();
    const auto lack = [&](size_t i) { return sign * (exact[i] - double(quota[i])); };
    for (size_t i = 0; i < sizes.size(); ++i) {
      if (sign > 0 ? quota[i] >= sizes[i] : quota[i] <= least) continue;
      if (best == sizes.size() || lack(i) > lack(best) || (lack(i) == lack(best) && keys[i] < keys[best]))
        best = i;
    }
    return best;
  };
  for (; left > 0; --left) ++quota[furthest(1)];
  for (; left < 0; ++left) --quota[furthest(-1)];
  return quota;
}

EvalSample make_eval_sample(const TokenSet& set, int64_t most) {
  const std::vector<ShardPart>& shards = set.shards();
  const int64_t total = most > 0 ? std::min(most, set.n_samples()) : set.n_samples();
  check(total == set.n_samples() || total < int64_t(1) << 31, "a part is small enough to be drawn");
  EvalSample sample;
  for (const std::string& pattern : set.patterns()) sample.sets.push_back({.pattern = pattern});
  const std::vector<int64_t> quota = quotas(shards, sample.sets.size(), total);

  std::vector<size_t> order(shards.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return shards[a].content < shards[b].content; });
  for (const size_t s : order) {
    EvalSample::Set& into = sample.sets[shards[s].set];
    into.of += shards[s].n_samples;
    if (quota[s] == shards[s].n_samples)
      for (int64_t i = 0; i < quota[s]; ++i) into.samples.push_back(shards[s].first_sample + i);
    else
      add_spread(shards[s], quota[s], into.samples);
  }
  sample.fingerprint = fingerprint_of(shards, order, quota, set.seq_len());
  return sample;
}

int64_t EvalSample::sequences() const {
  int64_t n = 0;
  for (const Set& set : sets) n += int64_t(set.samples.size());
  return n;
}

int64_t EvalSample::of() const {
  int64_t n = 0;
  for (const Set& set : sets) n += set.of;
  return n;
}

std::string EvalSample::description() const {
  const int64_t read = sequences();
  if (read == of()) return "reads all " + grouped(read) + " sequences";
  return "reads " + grouped(read) + " of " + grouped(of()) + " sequences, spread evenly";
}

std::string grouped(int64_t n) {
  std::string digits = std::to_string(n);
  for (auto at = int64_t(digits.size()) - 3; at > (n < 0 ? 1 : 0); at -= 3) digits.insert(size_t(at), ",");
  return digits;
}

}  // namespace saslm
