// The next batch of the training stream, read while the one before it is computed.
#pragma once
#include <future>
#include <vector>

#include "data/loader.h"

namespace saslm {

class BatchPrefetch {
 public:
  BatchPrefetch(const BatchLoader& loader, int64_t batch, int64_t seq_len);

  struct Batch {
    std::vector<int32_t> inputs, targets;  // (B, T) each
  };
  // The batch that begins at stream index `first`, as BatchLoader::load gives it, and with its errors; it
  // lasts until the next call. From now on the one that begins at `next` is read by a thread; another `first`
  // than was announced is read here.
  const Batch& get(uint64_t first, uint64_t next);

 private:
  void read(uint64_t first, Batch& into) const;

  const BatchLoader& loader_;
  int64_t batch_;
  Batch now_, ahead_;
  uint64_t announced_ = 0;
  std::future<void> next_;  // into ahead_; its end is waited for where this ends
};

}  // namespace saslm
