// Batches of the training stream. The only state is the stream index, and the caller keeps it.
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

  // Row b of inputs and targets (B, T), contiguous, is set (=) to stream index first + b. Any thread.
  // IoError when a shard changed or fails.
  void load(uint64_t first, int64_t B, int32_t* inputs, int32_t* targets) const;

 private:
  const TokenSet& set_;
  Sampler order_;
};

}  // namespace saslm
