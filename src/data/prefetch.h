// Prefetches the next batch of the training stream while the current one is computed.
#pragma once
#include <future>

#include "data/loader.h"

namespace saslm {

class BatchPrefetch {
 public:
  BatchPrefetch(const BatchLoader& loader, int64_t batch, int64_t seq_len);

  // Returns the batch at stream index `first`, valid until the next call; errors as BatchLoader::load. A
  // thread then starts to read the batch at `next`. If the next call asks for another `first`, it is read in
  // that call.
  TokenBatch get(uint64_t first, uint64_t next);

 private:
  const BatchLoader& loader_;
  TokenBuffer now_, ahead_;
  uint64_t announced_ = 0;
  std::future<void> next_;  // fills ahead_; the destructor waits for it
};

}  // namespace saslm
