// Batches of the training stream. The only state is the stream index, which the caller keeps.
#pragma once
#include <cstdint>

#include "data/sampler.h"
#include "data/token_set.h"

namespace saslm {

class BatchLoader {
 public:
  // `set` must outlive the loader.
  BatchLoader(const TokenSet& set, bool shuffle, uint64_t seed)
      : set_(set), order_(set.n_samples(), shuffle, seed) {}

  // Sets (=) every row b of the buffer to stream index first + b. Thread-safe. IoError if a shard changed or
  // cannot be read.
  void load(uint64_t first, TokenBuffer& into) const;

 private:
  const TokenSet& set_;
  Sampler order_;
};

}  // namespace saslm
