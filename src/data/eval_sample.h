// The samples of a token set that an evaluation reads: all, or a fixed part spread evenly over the set.
//
// Every shard gives samples in proportion to its size (largest remainder), but at least one if there are
// enough; if there are fewer samples than shards, every pattern gives one first. A shard that gives k samples
// is divided into k ranges of equal length, and one sample is drawn from each, at a place derived from a hash
// of the shard's tokens and the range's number. So the choice depends only on the data's content and on
// `most`, not on the order of files, seed, run, variant or number of ranks.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/token_set.h"

namespace saslm {

struct EvalSample {
  struct Set {
    std::string pattern;           // as given to TokenSet
    std::vector<int64_t> samples;  // numbers in the token set; shards ordered by a hash of their content
    int64_t of = 0;                // number of samples in the set
  };
  std::vector<Set> sets;    // one per pattern, in that order; may be empty
  std::string fingerprint;  // 32 hex digits; of the samples, independent of the order of files

  int64_t sequences() const;
  int64_t of() const;
  std::string description() const;  // "reads 1,000 of 52,301 sequences"
};

// At most `most` samples; 0 = all.
EvalSample make_eval_sample(const TokenSet& set, int64_t most);

// Divides `total` over groups in proportion to their sizes, by largest remainder; never more than a group
// has, and at least one from each non-empty group if `total` suffices. Ties go to the smaller of `keys`.
std::vector<int64_t> apportion(int64_t total, const std::vector<int64_t>& sizes,
                               const std::vector<std::array<uint64_t, 2>>& keys);

std::string grouped(int64_t n);  // 52301 -> "52,301"

}  // namespace saslm
