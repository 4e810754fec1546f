// Which samples of a token set an evaluation reads: all of them, or a fixed part spread evenly over the
// whole.
//
// Every shard gives samples in proportion to how many it has (largest remainder), at least one while there
// are enough to go round; where there are fewer than shards, every pattern gives one first. Within a shard
// one sample is drawn from each of as many stretches of equal length, at a place that follows from the tokens
// of the shard and the stretch's number. So the choice depends on the data's content and on `most` alone: not
// on the order of files, nor on seed, run, variant or number of ranks.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/token_set.h"

namespace saslm {

struct EvalSample {
  struct Set {
    std::string pattern;  // as TokenSet was given it
    std::vector<int64_t>
        samples;     // numbers in the token set; shards in an order that follows from their content
    int64_t of = 0;  // how many the set holds
  };
  std::vector<Set> sets;    // one per pattern, in that order; may be empty
  std::string fingerprint;  // 32 hex digits; of what is read, whatever the files' order

  int64_t sequences() const;
  int64_t of() const;
  std::string description() const;  // "reads 1,000 of 52,301 sequences"
};

// At most `most` samples; 0 = all.
EvalSample make_eval_sample(const TokenSet& set, int64_t most);

// How many of `total` things each of several heaps gives: in proportion to their sizes, by largest remainder,
// never more than a heap has, and at least one of each heap that is not empty while `total` suffices. Equal
// remainders go by `keys`, the smaller first.
std::vector<int64_t> apportion(int64_t total, const std::vector<int64_t>& sizes,
                               const std::vector<std::array<uint64_t, 2>>& keys);

std::string grouped(int64_t n);  // 52301 -> "52,301"

}  // namespace saslm
